"use strict";
// The matrix of the report card and its filters. One script with figure.js and panel.js, which come
// after it. Texts of the card are set as text, never as markup.

const { card, signs, classes } = JSON.parse(document.getElementById("card").textContent);
const bounds = new Map(Object.entries(card.bounds));
const trials = new Map(Object.entries(card.trials));
const priced = [...bounds.values()].some((bound) => bound.costs);
const body = document.createElement("tbody");
const filters = document.getElementById("filters");

// An element with attributes (plain objects) and children (elements and texts).
function make(tag, ...parts) {
  const element = document.createElement(tag);
  for (const part of parts) {
    if (part.constructor !== Object) element.append(part);
    else for (const name of Object.keys(part)) element.setAttribute(name, part[name]);
  }
  return element;
}

const fragment = (names) => "#" + names.map(encodeURIComponent).join("/");
const link = (names, ...parts) => make("a", { href: fragment(names) }, ...parts);
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [make("wbr"), part]);

// ---- One row a bound. Cells are links: one tab stop for all of them, arrow keys to go about.

function makeCell(name, trial) {
  const { verdict, texts } = bounds.get(name).trials[trial];
  const cell = link([name, trial], { tabindex: -1 }, make("span", signs[verdict]));
  if (texts.score) cell.append(make("span", texts.score));
  const said = texts.score ? `${verdict}, score ${texts.score}` : verdict;
  cell.setAttribute("aria-label", `${name}, ${trials.get(trial).title}: ${said}`);
  return make("td", { class: classes[verdict] }, cell);
}

const rows = [...bounds].map(([name, bound]) => {
  const verdicts = Object.values(bound.trials).map((cell) => cell.verdict);
  const passes = verdicts.filter((verdict) => verdict === "passes").length;
  const head = link([name], { tabindex: -1 }, ...breakable(name), make("small", bound.status));
  const cells = [...trials.keys()].map((trial) => makeCell(name, trial));
  const sum = make("td", { class: "sum" }, String(passes));
  const costs = priced ? [make("td", { class: "costs" }, bound.costs || "")] : [];
  const line = make("tr", make("th", { scope: "row" }, head), sum, ...cells, ...costs);
  const text = `${name} ${bound.paper} ${bound.about}`.toLowerCase();
  return { name, bound, passes, line, text };
});

body.addEventListener("focusin", ({ target }) => {
  body.querySelectorAll("[tabindex='0']").forEach((other) => other.setAttribute("tabindex", -1));
  target.setAttribute("tabindex", 0);
});
body.addEventListener("keydown", (event) => {
  const lines = [...body.rows].map((line) => [...line.querySelectorAll("a")]);
  const down = lines.findIndex((line) => line.includes(event.target));
  if (down < 0) return;
  const right = lines[down].indexOf(event.target);
  const goal = {
    ArrowUp: [down - 1, right],
    ArrowDown: [down + 1, right],
    ArrowLeft: [down, right - 1],
    ArrowRight: [down, right + 1],
    Home: [down, 0],
    End: [down, trials.size],
  }[event.key];
  if (!goal) return;
  event.preventDefault();
  lines[goal[0]]?.[goal[1]]?.focus();
});

// ---- Heads are buttons that sort: the best first, by name from a; a second click reverses.

const last = priced ? ["costs"] : [];
const titles = ["bound", "passes", ...[...trials.values()].map((trial) => trial.title), ...last];
const questions = ["", "", ...[...trials.values()].map((trial) => trial.question)];
questions.push(...last.map(() => "Beyond the training set and the network"));
const heads = titles.map((title, place) => {
  const button = make("button", { type: "button" }, make("span", title));
  button.append(make("i", { "aria-hidden": "true" }));
  button.addEventListener("click", () => {
    order = { place, down: place === order.place ? !order.down : place > 0 };
    arrange();
  });
  return make("th", { scope: "col", title: questions[place] }, button);
});
let order = { place: 1, down: true };

// Column 0 by name, 1 by passes, a trial by score (none: last, either way), then by verdict; the
// last by what stands in it.
function compare(a, b) {
  const turn = order.down ? -1 : 1;
  const byName = a.name < b.name ? -1 : 1;
  if (order.place === 0) return turn * byName;
  if (order.place === 1) return turn * (a.passes - b.passes) || byName;
  if (order.place === trials.size + 2) {
    const [one, other] = [a.bound.costs || "", b.bound.costs || ""];
    return !one - !other || turn * one.localeCompare(other) || byName;
  }
  const trial = [...trials.keys()][order.place - 2];
  const [one, other] = [a.bound.trials[trial], b.bound.trials[trial]];
  const missing = (one.score === null) - (other.score === null);
  const rank = (cell) => -Object.keys(signs).indexOf(cell.verdict);
  return missing || turn * (one.score - other.score || rank(one) - rank(other)) || byName;
}

// ---- Filters: what is not like this is taken out of the table.

function fits({ bound, text }) {
  const wanted = Object.fromEntries(new FormData(filters));
  const words = wanted.search.toLowerCase().split(/\s+/);
  const asked = wanted.trial ? [wanted.trial] : [...trials.keys()];
  return (
    words.every((word) => text.includes(word)) &&
    ["status", "family", "speaks_of"].every((one) => ["", bound[one]].includes(wanted[one])) &&
    (!wanted.verdict || asked.some((trial) => bound.trials[trial].verdict === wanted.verdict))
  );
}

function arrange() {
  const shown = rows.filter(fits).sort(compare);
  const none = make("tr", make("td", { colspan: heads.length }, "No bound is like this."));
  body.replaceChildren(...(shown.length ? shown.map((row) => row.line) : [none]));
  document.getElementById("count").value = `${shown.length} of ${rows.length} bounds`;
  heads.forEach((head, place) => {
    const state = place !== order.place ? "none" : order.down ? "descending" : "ascending";
    head.setAttribute("aria-sort", state);
    head.querySelector("i").textContent = { none: "", descending: "▼", ascending: "▲" }[state];
  });
  if (!body.querySelector("[tabindex='0']")) body.querySelector("a")?.setAttribute("tabindex", 0);
}

filters.addEventListener("input", arrange);
filters.addEventListener("reset", () => setTimeout(arrange));
filters.addEventListener("submit", (event) => event.preventDefault());
filters.hidden = false;
const table = make("table", { role: "grid", "aria-label": "bounds and trials" });
table.append(make("thead", make("tr", ...heads)), body);
document.getElementById("matrix").append(make("div", { class: "matrix" }, table));
arrange();

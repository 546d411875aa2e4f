// The panel: a bound, or a bound in a trial, whatever the page's fragment names: #BOUND or
// #BOUND/TRIAL. So every cell has an address, and "back" closes what a click opened.

const panel = document.getElementById("panel");
let opened = [];

function chip({ verdict, texts }) {
  const look = { class: `chip ${classes[verdict]}` };
  return make("span", look, make("span", signs[verdict]), " " + texts.score);
}

// Papers on arXiv lead there.
function linked(text) {
  return text.split(/(arXiv:? ?\d{4}\.\d{4,5})/).map((part, place) => {
    if (place % 2 === 0) return part;
    const href = "https://arxiv.org/abs/" + part.match(/[\d.]+$/)[0];
    return make("a", { href, rel: "noreferrer" }, part);
  });
}

function list(pairs) {
  const lines = pairs.map(([label, ...parts]) => [make("dt", label), make("dd", ...parts)]);
  return make("dl", ...lines.flat());
}

const SPEAKS_OF = new Map([
  ["trained", "the trained network"],
  ["stochastic", "a stochastic network: its weights are drawn afresh for every prediction"],
  ["compressed", "a compressed network: its weights are rounded and coded"],
  ["drawn", "one network drawn from a posterior"],
  ["algorithm", "the algorithm: the error on average over what it may return"],
]);

function ofBound(name, bound) {
  const facts = [
    ["paper", ...linked(bound.paper)],
    ["status", bound.status],
    ["family", bound.family],
    ["speaks of", SPEAKS_OF.get(bound.speaks_of) ?? bound.speaks_of],
    ["two-sided", bound.two_sided === null ? "not said"
      : bound.two_sided ? "yes: its complexity bounds R_D - R_S both ways over a class" : "no"],
  ];
  if (bound.costs) facts.push(["costs", bound.costs]);
  if (bound.formula) facts.push(["formula", make("code", bound.formula)]);
  const verdicts = [...trials].map(([trial, { title }]) => {
    const cell = bound.trials[trial];
    const parts = [chip(cell), make("b", title), make("small", cell.sentence)];
    return make("li", link([name, trial], ...parts));
  });
  const { passes } = rows.find((row) => row.name === name);
  return [
    make("p", bound.about),
    list(facts),
    make("h3", `Passes ${passes} of ${trials.size} trials`),
    make("ul", { class: "verdicts" }, ...verdicts),
  ];
}

function ofCell(name, trial, cell) {
  const { title, question, formula, networks } = trials.get(trial);
  const { score, low, high } = cell.texts;
  const interval = low && high ? ` [${low}, ${high}]` : "";
  const facts = [
    ["score", (score || "none") + interval],
    ["networks", networks],
    ...Object.entries(cell.numbers),
  ];
  const parts = [
    make("p", make("b", `${title}. `), question),
    make("p", chip(cell), " ", make("b", cell.verdict)),
    make("p", cell.sentence),
  ];
  if (cell.figure) parts.push(plot(cell.figure, panel.querySelector("header").clientWidth));
  const paragraphs = formula.split(/\n\s*\n/).map((text) => make("p", text));
  parts.push(list(facts), make("h3", "How score and verdict are made"), ...paragraphs);
  const names = [...trials.keys()];
  const [before, after] = [-1, 1].map((step) => names[names.indexOf(trial) + step]);
  const nav = make("nav", link([name], "all trials of this bound"));
  nav.prepend(before ? link([name, before], `‹ ${trials.get(before).title}`) : "");
  nav.append(after ? link([name, after], `${trials.get(after).title} ›`) : "");
  return [...parts, nav];
}

// What the fragment names: [bound] or [bound, trial]; nothing where there is no such thing.
function named() {
  try {
    const names = location.hash.slice(1).split("/").map(decodeURIComponent);
    const known = bounds.has(names[0]) && (names.length === 1 || trials.has(names[1]));
    return known && names.length <= 2 ? names : [];
  } catch {
    return []; // no fragment of ours
  }
}

function show() {
  const names = named();
  if (!names.length) return panel.close();
  opened = names;
  const [name, trial] = names;
  const bound = bounds.get(name);
  const close = make("button", { type: "button" }, "close");
  close.addEventListener("click", () => panel.close());
  panel.replaceChildren(make("header", make("h2", { id: "what" }, ...breakable(name)), close));
  if (!panel.open) panel.showModal(); // before a figure asks for its width
  if (trial === undefined) panel.append(...ofBound(name, bound));
  else panel.append(...ofCell(name, trial, bound.trials[trial]));
  panel.scrollTop = 0;
  close.focus();
}

panel.addEventListener("click", ({ target }) => target === panel && panel.close());
panel.addEventListener("close", () => {
  if (location.hash && location.hash !== fragment(opened)) return; // on the way to another one
  history.replaceState(null, "", location.pathname + location.search);
  [...body.querySelectorAll("a")].find((cell) => cell.hash === fragment(opened))?.focus();
});
addEventListener("hashchange", show);
show();

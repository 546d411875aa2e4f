// A line chart as inline SVG: plot(FIGURE, width). Gaps where a value is null, or where a
// logarithmic axis has none. Colours are classes c0..c5; shapes and dashes tell series apart, too.

const SHAPES = [
  "M-4,0a4,4 0 1 0 8,0a4,4 0 1 0 -8,0",
  "M-3.5,-3.5h7v7h-7z",
  "M0,-4.5L4.5,3.5H-4.5z",
  "M0,-5L5,0L0,5L-5,0z",
  "M0,4.5L4.5,-3.5H-4.5z",
  "M-4,-1h3v-3h2v3h3v2h-3v3h-2v-3h-3z",
];
const DASHES = ["", "6 3", "2 2", "8 3 2 3", "12 3", "1 3"];

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A number on an axis: plain, or as a power of ten.
function tickText(value) {
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return String(Number(value.toPrecision(10)));
  const [digits, power] = value.toExponential(9).split("e");
  const raised = [...power.replace("+", "")]
    .map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]))
    .join("");
  const factor = String(Number(digits));
  return (factor === "1" ? "10" : factor + "·10") + raised;
}

// Ticks at 1, 2 or 5 times a power of ten.
function evenTicks(low, high, count = 4) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9; i++)
    ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

// Ticks of a logarithmic axis: powers of ten; 1, 2, 5 between few of them; even ones within one.
function logTicks(low, high) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  if (to - from < 0.7) return evenTicks(low, high);
  const step = Math.ceil((to - from) / 6);
  const factors = to - from < 2.2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.floor(from); power <= to; power++)
    if (power % step === 0)
      for (const factor of factors) ticks.push(Number(`${factor}e${power}`));
  return ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

// Values to pixels from..to, with ticks: at the values that there are, where they have room.
function scale(values, log, from, to, exact) {
  const [into, back] = log ? [Math.log10, (v) => 10 ** v] : [(v) => v, (v) => v];
  let [low, high] = [into(Math.min(...values)), into(Math.max(...values))];
  const room = (high - low) * 0.05 || Math.abs(low) * 0.1 || 0.5;
  [low, high] = [low - room, high + room];
  const at = (value) =>
    Math.max(-1e4, Math.min(1e4, from + ((into(value) - low) / (high - low)) * (to - from)));
  const own = [...new Set(values)].sort((a, b) => a - b);
  const needed = (i) => 8 + 3.5 * (tickText(own[i]) + tickText(own[i - 1])).length;
  const fit = own.every(
    (value, i) => tickText(value).length < 7 && (i === 0 || at(value) - at(own[i - 1]) > needed(i)),
  );
  const ticks = exact && fit ? own : (log ? logTicks : evenTicks)(back(low), back(high));
  return { at, ticks };
}

function plot(figure, width) {
  const good = (value, log) => Number.isFinite(value) && (!log || value > 0);
  const series = figure.series.map(({ name, kind, x, y, low, high }) => {
    const points = x.map((at, i) => ({ x: at, y: y[i], low: low?.[i], high: high?.[i] }));
    for (const point of points)
      point.drawn = good(point.x, figure.log_x) && good(point.y, figure.log_y);
    return { name, kind, points };
  });
  const points = series.flatMap((one) => one.points).filter((point) => point.drawn);
  if (!points.length) return make("p", "The figure has no value that can be drawn.");
  const height = 300;
  const [top, bottom] = [26, height - 40];
  const ys = points.flatMap((point) => [point.y, point.low, point.high]);
  const drawn = ys.filter((value) => good(value, figure.log_y));
  const y = scale(drawn, figure.log_y, bottom, top, false);
  const left = 14 + 7 * Math.max(...y.ticks.map((tick) => tickText(tick).length));
  const right = width - 24;
  const xs = points.map((point) => point.x);
  const x = scale(xs, figure.log_x, left, right, true);
  const said = `${figure.y} against ${figure.x}: ${series.map((one) => one.name).join(", ")}`;
  const viewBox = `0 0 ${width} ${height}`;
  const picture = draw("svg", { width, height, viewBox, role: "img", "aria-label": said });
  const line = (className, x1, y1, x2, y2) =>
    picture.append(draw("line", { class: className, x1, y1, x2, y2 }));
  const label = (text, at, anchor) =>
    picture.append(draw("text", { x: at[0], y: at[1], "text-anchor": anchor }, text));
  for (const tick of y.ticks) {
    line("grid", left, y.at(tick), right, y.at(tick));
    label(tickText(tick), [left - 6, y.at(tick) + 4], "end");
  }
  for (const tick of x.ticks) {
    line("axis", x.at(tick), bottom, x.at(tick), bottom + 5);
    label(tickText(tick), [x.at(tick), bottom + 18], "middle");
  }
  picture.append(draw("path", { class: "axis", d: `M${left},${top}V${bottom}H${right}` }));
  label(figure.y, [4, 14], "start");
  label(figure.x, [(left + right) / 2, height - 6], "middle");
  const foot = (low) => (good(low, figure.log_y) ? y.at(low) : bottom);
  const keys = series.map((one, i) =>
    drawSeries(picture, one, i % SHAPES.length, x.at, y.at, foot),
  );
  return make("figure", picture, make("ul", { class: "keys" }, ...keys));
}

// One series, with bars from `foot(low)` to `high`; returns its line of the legend.
function drawSeries(picture, { name, kind, points }, style, x, y, foot) {
  const line = { class: "line", "stroke-dasharray": DASHES[style] };
  const group = draw("g", { class: `c${style}` });
  const place = (point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`;
  const pen = (point, i) => (i && points[i - 1].drawn ? "L" : "M") + place(point);
  const path = points.map((point, i) => (point.drawn ? pen(point, i) : "")).join("");
  if (kind === "line") group.append(draw("path", { ...line, d: path }));
  for (const point of points.filter((one) => one.drawn)) {
    if (Number.isFinite(point.low) && Number.isFinite(point.high)) {
      const d = `M${x(point.x) - 3},${foot(point.low)}h6m-3,0V${y(point.high)}m-3,0h6`;
      group.append(draw("path", { class: "bar", d }));
    }
    const transform = `translate(${place(point)})`;
    group.append(draw("path", { class: "mark", d: SHAPES[style], transform }));
  }
  picture.append(group);
  const key = draw("svg", { width: 34, height: 14, viewBox: "-17 -7 34 14", class: `c${style}` });
  if (kind === "line") key.append(draw("path", { ...line, d: "M-17,0H17" }));
  key.append(draw("path", { class: "mark", d: SHAPES[style] }));
  return make("li", key, name);
}

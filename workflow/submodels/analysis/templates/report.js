"use strict";
const PAGE = 100; // rows added at a time
const AXES = ["model", "method", "calibration", "calibration_size", "domain", "sparsity", "seed", "benchmark", "status"];
const { runs, benchmarks, rows, ended, samples, generations } = JSON.parse(document.getElementById("data").textContent);
const filter = document.getElementById("filter");
const body = document.querySelector("#scores tbody");
const more = document.getElementById("more");
const shown = document.getElementById("shown");
const headers = Array.from(document.querySelectorAll("#scores th[data-key]"));

const scores = rows.map(([run, benchmark, metric, main, number, low, high, items, end, sample, generation]) => {
  const { name, remarks, metrics } = benchmarks[benchmark];
  const { label, percent } = metrics[metric];
  const score = { ...runs[run], benchmark: name, remarks, metric: label, main, number, items };
  score.status = number === null ? "not run" : "ok";
  score.value = number === null ? ended[end] : written(number, percent);
  score.interval = number === null ? "" : `[${written(low, percent)}, ${written(high, percent)}]`;
  score.ended = number === null ? "" : ended[end];
  score.samples = address(samples[sample], score);
  score.generation = address(generations[generation], score);
  return score;
});
const texts = scores.map((score) => [...AXES, "submodel", "metric", "remarks", "value", "ended"]
  .map((key) => score[key]).join(" ").toLowerCase());
let listed = scores;
let order = null; // [key, 1 or -1]

// As in the tables: an accuracy in percent, a perplexity with its meaningful digits (`Metric.show` in Python).
function written(number, percent) {
  if (typeof number === "string") return number; // infinite
  if (percent) return rounded(100 * number, 1);
  if (Math.abs(number) < 100) return rounded(number, Math.abs(number) < 10 ? 3 : 2);
  return rounded(number, 0).replace(/\B(?=(\d{3})+$)/g, ",");
}

// Python rounds a number exactly in the middle to the even digit, toFixed away from zero.
function rounded(number, digits) {
  const text = number.toFixed(digits);
  const middle = Math.abs(number * 2 ** (digits + 1)) % 2 === 1;
  return middle && "13579".includes(text.at(-1)) ? (number - Math.sign(number) * 10 ** -digits / 4).toFixed(digits) : text;
}

function address(pattern, { model, submodel, benchmark }) {
  return pattern && pattern.replace("{}", `${model}/${submodel}/${benchmark}`);
}

function fill(select, key) {
  const values = [...new Set(scores.map((score) => score[key]))].filter((value) => value !== "");
  for (const value of values) select.add(new Option(value));
  select.closest("label").hidden = values.length < 2;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function apply() {
  const words = filter.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = AXES.map((key) => [key, filter.elements[key].value]).filter(([, value]) => value !== "");
  const all = filter.elements.metrics.value === "all";
  listed = scores.filter((score, i) => (all || score.main) &&
    wanted.every(([key, value]) => String(score[key]) === value) && words.every((word) => texts[i].includes(word)));
  if (order) {
    const [key, sign] = order;
    const missing = (score) => ["number", "items"].includes(key) && score[key] === null; // last, either way
    listed.sort((a, b) => (missing(a) - missing(b)) || sign * compare(a[key], b[key]));
  }
  for (const header of headers) {
    const sorts = order && order[0] === header.dataset.key;
    header.setAttribute("aria-sort", sorts ? (order[1] > 0 ? "ascending" : "descending") : "none");
  }
  body.replaceChildren();
  extend();
}

function extend() {
  const first = body.rows.length;
  body.append(...listed.slice(first, first + PAGE).map(row));
  const left = listed.length - body.rows.length;
  more.hidden = left === 0;
  more.textContent = `Show ${Math.min(PAGE, left)} more`;
  const scope = filter.elements.metrics.value === "all" ? "" : " (main metrics)";
  const part = left ? `, the first ${body.rows.length} shown` : "";
  shown.textContent = `${listed.length} of ${scores.length} scores${scope}${part}`;
}

function row(score) {
  const tr = document.createElement("tr");
  const cell = (parent, tag, text, kind) => {
    const element = document.createElement(tag);
    element.textContent = text;
    if (kind) element.className = kind;
    parent.append(element);
    return element;
  };
  const link = (parent, href, text) => {
    if (!href) return parent.append(text);
    cell(parent, "a", text).href = href;
  };
  cell(tr, "td", score.model);
  cell(tr, "th", score.name).scope = "row";
  const name = cell(tr, "td", score.benchmark);
  if (score.remarks) cell(name, "span", ` ${score.remarks}`, "soft");
  cell(tr, "td", score.metric);
  if (score.status === "ok") {
    const value = cell(tr, "td", "", "number");
    link(value, score.samples, score.value);
    cell(value, "span", ` ${score.interval}`, "soft");
    cell(tr, "td", score.items, "number");
    cell(tr, "td", score.ended, "ended");
  } else {
    cell(tr, "td", score.value, "not-run").colSpan = 3;
  }
  const manifests = cell(tr, "td", "");
  if (score.manifest) link(manifests, score.manifest, score.submodel === "dense" ? "model" : "mask");
  if (score.generation) {
    manifests.append(" ");
    link(manifests, score.generation, "samples");
  }
  return tr;
}

// `#all?model=...&benchmark=...`: the rows behind a cell of a matrix.
function follow() {
  const [place, query] = decodeURIComponent(location.hash).split("?");
  if (place !== "#all" || query === undefined) return;
  filter.reset();
  for (const [key, value] of new URLSearchParams(query)) {
    if (AXES.includes(key)) filter.elements[key].value = value;
  }
  apply();
  document.getElementById("all").scrollIntoView();
}

for (const key of AXES) fill(filter.elements[key], key);
for (const header of headers) {
  header.querySelector("button").addEventListener("click", () => {
    const key = header.dataset.key;
    order = [key, order && order[0] === key ? -order[1] : key === "number" ? -1 : 1];
    apply();
  });
}
filter.addEventListener("input", apply);
filter.addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("reset", () => setTimeout(() => { order = null; apply(); }));
more.addEventListener("click", extend);
window.addEventListener("hashchange", follow);
filter.hidden = false;
document.getElementById("scores-box").hidden = false;
apply();
follow();

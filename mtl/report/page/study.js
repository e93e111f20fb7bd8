// The study, and what the reader has chosen: filter, selection, order. Whoever shows rows listens to changes.

const study = JSON.parse(byId("data-study").textContent);
const columnOf = Object.fromEntries(study.columns.map((column) => [column.key, column]));
const quantities = study.columns.filter((column) => study.rows.some((row) => row.compared[column.key]));
const SCORE = "test/score";
const headline = (columnOf[SCORE] ?? quantities[0] ?? study.columns[0]).key;
const histories = once(async () => JSON.parse(await unpacked("data-histories")));

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const NUM_COLORS = 8;
let coloured = 0;
let baselines = 0;
study.rows.forEach((row, place) => {
  const number = row.baseline ? baselines++ : coloured++;
  row.place = place;
  row.color = row.baseline ? "--ink-series" : `--c${number % NUM_COLORS}`;
  row.style = (row.baseline ? number : Math.floor(number / NUM_COLORS)) % SYMBOLS.length;
});

const state = {
  text: "",
  keys: {}, // name of a filter -> chosen value
  verdicts: new Set(),
  selected: new Set(), // places of rows
  sort: { key: headline, down: columnOf[headline].higher },
  quantity: headline,
  all: false, // every metric, not one per task
};

const listeners = [];
function change(changes) {
  Object.assign(state, changes);
  listeners.forEach((listener) => listener());
}

/** What the row's comparison says: better, worse, undecided, same, baseline, or none. */
function verdictOf(row, key = state.quantity) {
  const one = row.compared[key];
  if (!one) return row.baseline ? "baseline" : "none";
  if (one.verdict.startsWith("no difference")) return "same";
  return one.verdict || "none";
}
const VERDICTS = {
  better: ["▲", "better"],
  worse: ["▼", "worse"],
  same: ["=", `no difference above ${study.margin}`],
  undecided: ["?", "undecided"],
  none: ["–", "without interval"],
  baseline: ["●", "baseline"],
};

/** What a row can be filtered by, besides text: [name, its value in a row]. */
const FILTERS = [["weighting", (row) => row.weighting], ...study.keys.map((key, k) => [key, (row) => row.keys[k]])].filter(
  ([, of]) => new Set(study.rows.map(of)).size > 1,
);

function passes(row) {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [row.label, ...row.keys, ...row.tasks].join(" ").toLowerCase();
  return (
    words.every((word) => text.includes(word)) &&
    FILTERS.every(([name, of]) => !(name in state.keys) || of(row) === state.keys[name]) &&
    (!state.verdicts.size || state.verdicts.has(verdictOf(row)))
  );
}

/** What a column is sorted by; null comes last whatever the direction. */
function sortValue(row, key) {
  if (key === "label") return row.label;
  if (key === "difference") return row.compared[state.quantity]?.difference ?? null;
  if (key === "seeds") return row.blocks.length;
  if (key.startsWith("key:")) return row.keys[Number(key.slice(4))] || null;
  return row.cells[key]?.[0] ?? null;
}

function compareRows(a, b) {
  const [x, y] = [sortValue(a, state.sort.key), sortValue(b, state.sort.key)];
  if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;
  const order = isNumber(x) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
  return (state.sort.down ? -order : order) || a.place - b.place;
}

const shownRows = () => study.rows.filter(passes).sort(compareRows);

/** What figures show: the selected rows, or all that pass the filter. */
function plottedRows() {
  const shown = shownRows();
  const chosen = shown.filter((row) => state.selected.has(row.place));
  return chosen.length ? chosen : shown;
}

function toggleSelected(row) {
  const selected = new Set(state.selected);
  if (!selected.delete(row.place)) selected.add(row.place);
  change({ selected });
}

const OUTLINES = {
  circle: () => svg("circle", { cx: 6, cy: 6, r: 4.5 }),
  square: () => svg("rect", { x: 2, y: 2, width: 8, height: 8 }),
  diamond: () => svg("path", { d: "M6 .5 11.5 6 6 11.5.5 6z" }),
  "triangle-up": () => svg("path", { d: "M6 1 11.5 10.5H.5z" }),
  "triangle-down": () => svg("path", { d: "M6 11 .5 1.5h11z" }),
};

/** The row's colour and shape, as in all figures. */
function mark(row) {
  const shape = OUTLINES[SYMBOLS[row.style]]();
  shape.setAttribute("fill", `var(${row.color})`);
  return svg("svg", { class: "mark", viewBox: "0 0 12 12", "aria-hidden": "true" }, shape);
}

function pill(kind) {
  const [sign, words] = VERDICTS[kind];
  return el("span", { class: `pill ${kind}` }, el("span", { "aria-hidden": "true" }, sign), ` ${words}`);
}

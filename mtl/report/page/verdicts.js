// The verdicts: how many rows are better, and each comparison as a sentence beside its interval.

const FIRST = 10; // sentences before "all"
let everyVerdict = false;

const decimalsOf = (column) => (column.unit === "skill points" || column.unit === "%" ? 1 : column.decimals);

/** The range of all differences in the chosen quantity, zero and the margin included. */
function forestScale() {
  const found = study.rows.map((row) => row.compared[state.quantity]).filter(Boolean);
  const ends = found.flatMap((one) => [one.difference, ...(one.interval ?? []), ...(one.pictures ?? [])]);
  const margin = marginOf();
  const [low, high] = [Math.min(-margin, ...ends, 0), Math.max(margin, ...ends, 0)];
  const room = 0.04 * (high - low || 1);
  return { low: low - room, high: high + room };
}

const marginOf = () => (["skill points", "%"].includes(columnOf[state.quantity].unit) ? study.margin : 0);

/** Interval over seeds (bar), over test pictures (thin line), difference (dot), zero (line), margin (shade). */
function forest(one, scale, kind) {
  const at = (value) => `${(100 * (value - scale.low)) / (scale.high - scale.low)}%`;
  const between = ([low, high]) => `left:${at(low)};right:calc(100% - ${at(high)})`;
  const margin = marginOf();
  return el(
    "span",
    { class: `forest ${kind}`, "aria-hidden": "true" },
    margin ? el("i", { class: "margin", style: between([-margin, margin]) }) : null,
    el("i", { class: "zero", style: `left:${at(0)}` }),
    one.pictures ? el("i", { class: "pictures", style: between(one.pictures) }) : null,
    one.interval ? el("i", { class: "interval", style: between(one.interval) }) : null,
    el("i", { class: "dot", style: `left:${at(one.difference)}` }),
  );
}

/** At most seven round numbers inside the scale, zero among them. */
function ticks({ low, high }) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step); k <= Math.floor(high / step); k += 1) found.push(k * step);
  return found;
}

function showVerdicts(place) {
  const title = el("h2", { id: "h-verdict" }, "Verdict");
  const summary = el("p", { class: "summary" });
  const list = el("ol", { class: "verdicts" });
  const more = el("button", { type: "button", class: "quiet", onclick: () => showAll() });
  const showAll = () => {
    everyVerdict = !everyVerdict;
    change({});
  };
  const legend = el("p", { class: "hint" });
  const pick =
    quantities.length > 1
      ? choice("compared in", quantities.map((c) => [c.key, c.name]), state.quantity, (quantity) => change({ quantity }))
      : null;
  place.append(el("div", { class: "titled" }, title, pick), summary, list, more, legend);
  listeners.push(() => {
    const column = columnOf[state.quantity];
    const rows = study.rows.filter((row) => passes(row) && row.compared[state.quantity]);
    rows.sort((a, b) => (column.higher ? 1 : -1) * (b.compared[state.quantity].difference - a.compared[state.quantity].difference));
    summary.replaceChildren(...summaryOf(rows));
    const scale = forestScale();
    const shown = everyVerdict ? rows : rows.slice(0, FIRST);
    list.replaceChildren(...shown.map((row) => verdictLine(row, scale)), ...(shown.length ? [axis(scale, column)] : []));
    more.textContent = everyVerdict ? "Fewer" : `All ${rows.length} comparisons`;
    more.hidden = rows.length <= FIRST;
    legend.textContent = rows.length ? legendOf(rows, column) : "";
  });
}

function verdictLine(row, scale) {
  const one = row.compared[state.quantity];
  const kind = verdictOf(row);
  return el(
    "li",
    {},
    pill(kind),
    el("span", { class: "sentence" }, mark(row), el("span", {}, one.sentence)),
    forest(one, scale, kind),
  );
}

function axis(scale, column) {
  const marks = ticks(scale).map((tick) => {
    const left = `left:${(100 * (tick - scale.low)) / (scale.high - scale.low)}%`;
    return el("i", { style: left }, short(tick));
  });
  const better = column.higher ? "better →" : "← better";
  return el("li", { class: "axis", "aria-hidden": "true" }, el("span", { class: "forest" }, marks), el("em", {}, better));
}

function summaryOf(rows) {
  const best = bestRow();
  const words = [];
  if (rows.length) {
    const counts = Object.keys(VERDICTS).map((kind) => [kind, rows.filter((row) => verdictOf(row) === kind).length]);
    const base = new Set(rows.map((row) => study.rows[row.compared[state.quantity].baseline].label));
    const against = base.size === 1 ? [...base][0] : "the baseline of its family";
    words.push(`${many(rows.length, "row")} against `, el("b", {}, against), ": ");
    const found = counts.filter(([, count]) => count);
    found.forEach(([kind, count], k) =>
      words.push(el("span", { class: kind }, `${count} ${VERDICTS[kind][1]}`), k < found.length - 1 ? ", " : ". "),
    );
  } else {
    words.push(study.rows.length === 1 ? "One configuration: nothing to compare it with yet. " : "No comparison to show. ");
  }
  if (best) {
    const column = columnOf[state.quantity];
    const [value, sd] = best.cells[state.quantity];
    const spread = isNumber(sd) ? ` ± ${fixed(sd, column.decimals)}` : "";
    words.push("Best mean: ", el("b", {}, best.label), `, ${column.name.replace(/ [↑↓]/, "")} ${fixed(value, column.decimals)}${spread}.`);
  }
  return words;
}

function bestRow(rows = study.rows) {
  const column = columnOf[state.quantity];
  const filled = rows.filter((row) => row.cells[state.quantity]);
  const order = (a, b) => (column.higher ? 1 : -1) * (b.cells[state.quantity][0] - a.cells[state.quantity][0]);
  return filled.sort(order)[0];
}

function legendOf(rows, column) {
  const level = `${100 * study.level} %`;
  const some = (kind) => rows.some((row) => row.compared[column.key][kind]);
  const parts = [];
  if (some("interval")) parts.push(`Bar: ${level} interval over seeds, simultaneous over the rows`);
  else parts.push("No interval over seeds, so these differences say little");
  if (some("pictures")) parts.push("thin line: over test pictures, these networks kept");
  if (marginOf()) parts.push(`shade: differences of up to ${study.margin}, which do not matter`);
  return `${parts.join("; ")}.`;
}

// The figures as plotly's traces and layouts; a figure without data is a sentence instead.

/** Plotly reads markup in its texts. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const colorOf = (row) => css(row.color);
const symbolOf = (row) => SYMBOLS[row.style];
const faint = (color, alpha) => `rgba(${[1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)).join(",")},${alpha})`;
const axisName = (column) => plain(column.name);
const cut = (text, length) => plain(text.length > length ? `${text.slice(0, length - 1)}…` : text);
const few = (rows, most = 12) => rows.length <= most;
const runsOf = (row) => row.runs.flat().map((place) => study.runs[place]);

/** Dots per seed, the mean and its interval, a line per row in the table's order. */
function scoresPlot({ quantity }, rows, width) {
  const narrow = isNarrow(width);
  const column = columnOf[quantity];
  const filled = rows.filter((row) => row.cells[quantity]);
  if (!filled.length) return `No row has ${column.name}.`;
  const y = (k) => filled.length - 1 - k;
  const dots = { x: [], y: [], hovertext: [], customdata: [], colors: [], symbols: [] };
  const means = { x: [], y: [], hovertext: [], colors: [], symbols: [], low: [], high: [] };
  filled.forEach((row, k) => {
    const [value, sd, values, interval] = row.cells[quantity];
    values.forEach((one, b) => {
      if (!isNumber(one)) return;
      dots.x.push(one);
      dots.y.push(y(k));
      dots.colors.push(colorOf(row));
      dots.symbols.push(symbolOf(row));
      dots.customdata.push(study.runs[row.runs[b][0]].name);
      dots.hovertext.push(`${plain(row.label)}<br>${plain(study.blocks.join("/"))} ${plain(row.blocks[b])}: ${fixed(one, column.decimals)}`);
    });
    means.x.push(value);
    means.y.push(y(k));
    means.colors.push(colorOf(row));
    means.symbols.push(symbolOf(row));
    means.low.push(interval ? value - interval[0] : 0);
    means.high.push(interval ? interval[1] - value : 0);
    const spread = isNumber(sd) ? ` ± ${fixed(sd, column.decimals)}` : "";
    means.hovertext.push(`${plain(row.label)}<br>mean ${fixed(value, column.decimals)}${spread}${interval ? `<br>${span(interval, column.decimals)}` : ""}`);
  });
  const common = { type: "scatter", mode: "markers", hoverinfo: "text", y: undefined };
  const seeds = {
    ...common,
    x: dots.x,
    y: dots.y,
    customdata: dots.customdata,
    hovertext: dots.hovertext,
    marker: { color: dots.colors, symbol: dots.symbols, size: 7, opacity: 0.45 },
  };
  const centre = {
    ...common,
    x: means.x,
    y: means.y,
    hovertext: means.hovertext,
    error_x: { type: "data", symmetric: false, array: means.high, arrayminus: means.low, color: css("--muted"), thickness: 1.5, width: 0 },
    marker: { color: means.colors, symbol: means.symbols, size: 11, line: { width: 1.5, color: css("--surface") } },
  };
  return {
    data: [seeds, centre],
    layout: {
      height: Math.max(narrow ? 220 : 400, 26 * filled.length + 76),
      margin: { l: narrow ? 110 : 170 },
      xaxis: { title: { text: axisName(column) }, autorange: column.higher ? true : "reversed" },
      yaxis: rowAxis(filled, y, narrow ? 15 : 26),
    },
  };
}

const rowAxis = (rows, at, length) => ({
  tickvals: rows.map((_, k) => at(k)),
  ticktext: rows.map((row) => cut(row.label, length)),
  range: [-0.7, rows.length - 0.3],
  showgrid: false,
  zeroline: false,
});

/** Mean over a row's runs at each epoch, with the lowest and highest; null where no run has a value. */
function overEpochs(row, name, epochs) {
  const at = epochs.columns.indexOf(name);
  const values = new Map();
  for (const run of runsOf(row)) {
    const columns = epochs.runs[run.name];
    if (at < 0 || !columns) continue;
    columns[0].forEach((epoch, k) => {
      if (isNumber(columns[at][k])) values.set(epoch, [...(values.get(epoch) ?? []), columns[at][k]]);
    });
  }
  const x = [...values.keys()].sort((a, b) => a - b);
  const of = (reduce) => x.map((epoch) => reduce(values.get(epoch)));
  return { x, mean: of(mean), low: of((v) => Math.min(...v)), high: of((v) => Math.max(...v)) };
}

function curvesPlot({ metric }, rows, width, epochs) {
  const narrow = isNarrow(width);
  const data = [];
  for (const row of rows) {
    const curve = overEpochs(row, metric, epochs);
    if (!curve.x.length) continue;
    const color = colorOf(row);
    if (few(rows, 6)) {
      const band = { x: [...curve.x, ...[...curve.x].reverse()], y: [...curve.high, ...[...curve.low].reverse()] };
      data.push({ ...band, type: "scatter", mode: "lines", fill: "toself", fillcolor: faint(color, 0.13), line: { width: 0 }, hoverinfo: "skip" });
    }
    data.push({
      type: "scatter",
      mode: curve.x.length < 16 ? "lines+markers" : "lines",
      x: curve.x,
      y: curve.mean,
      hoverinfo: "text",
      hovertext: curve.x.map((epoch, k) => `${plain(row.label)}<br>epoch ${epoch}: ${short(curve.mean[k])}`),
      line: { color, width: few(rows) ? 2 : 1.3, dash: DASHES[row.style] },
      marker: { color, symbol: symbolOf(row), size: few(rows) ? 6 : 4 },
    });
  }
  if (!data.length) return `No finished run of these rows has recorded ${metric ?? "its epochs"}.`;
  return { data, layout: { height: narrow ? 320 : 400, xaxis: { title: { text: "epoch" }, tickformat: "d" }, yaxis: { title: { text: plain(metric) } } } };
}

const SMALL = 12; // panels

function weightsPlot({ kind }, rows, width, epochs) {
  const narrow = isNarrow(width);
  const names = study.tasks.map((task) => task.name);
  const panels = rows
    .map((row) => [row, names.map((name) => overEpochs(row, `${kind}/${name}`, epochs))])
    .filter(([row, curves]) => row.tasks.length > 1 && runsOf(row)[0].tasks.length > 1 && curves.some((curve) => curve.x.length));
  if (!panels.length) return "No finished run of these rows has recorded weights.";
  const shown = panels.slice(0, SMALL);
  const across = Math.min(narrow ? 2 : width < 900 ? 3 : 4, shown.length);
  const down = Math.ceil(shown.length / across);
  const all = shown.flatMap(([, curves]) => curves.flatMap((curve) => curve.mean));
  const decades = kind === "weight" && all.every((value) => value > 0) && Math.max(...all) > 30 * Math.min(...all);
  const layout = { height: 180 * down + 70, margin: { t: 30 }, annotations: [], showlegend: true };
  layout.legend = { orientation: "h", y: 1 + 60 / (180 * down), x: 0, yanchor: "bottom" };
  const data = [];
  const gap = { x: narrow ? 0.14 : 0.06, y: 62 / (180 * down) };
  const [wide, high] = [(1 - gap.x * (across - 1)) / across, (1 - gap.y * (down - 1)) / down];
  shown.forEach(([row, curves], k) => {
    const id = k ? k + 1 : "";
    const [left, top] = [(k % across) * (wide + gap.x), 1 - Math.floor(k / across) * (high + gap.y)];
    layout[`xaxis${id}`] = { domain: [left, left + wide], anchor: `y${id}`, tickformat: "d", nticks: 5 };
    layout[`yaxis${id}`] = { domain: [Math.max(0, top - high), top], anchor: `x${id}`, matches: k ? "y" : undefined, nticks: 4 };
    if (decades) Object.assign(layout[`yaxis${id}`], { type: "log", dtick: 1, tickformat: "~g" });
    layout.annotations.push({ text: cut(row.label, Math.floor(width / across / 8)), x: left, y: top, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: css("--ink") } });
    curves.forEach((curve, t) => {
      const color = css(`--c${t % NUM_COLORS}`);
      data.push({
        type: "scatter",
        mode: "lines+markers",
        name: plain(names[t]),
        legendgroup: names[t],
        showlegend: !k,
        x: curve.x,
        y: curve.mean,
        xaxis: `x${id}`,
        yaxis: `y${id}`,
        hoverinfo: "text",
        hovertext: curve.x.map((epoch, e) => `${plain(row.label)}<br>${plain(names[t])}, epoch ${epoch}: ${short(curve.mean[e])}`),
        line: { color, width: 2, dash: DASHES[t % DASHES.length] },
        marker: { color, size: 4, symbol: SYMBOLS[t % SYMBOLS.length] },
      });
    });
  });
  const note = panels.length > SMALL ? `The first ${SMALL} of ${panels.length} rows; tick rows in the table for others.` : "";
  return { data, layout, note };
}

function conflictPlot({ kind }, rows, width, epochs) {
  const narrow = isNarrow(width);
  const prefix = `conflict/${kind}/`;
  const pairs = epochs.columns.filter((name) => name.startsWith(prefix));
  const filled = rows
    .map((row) => [row, pairs.map((name) => overEpochs(row, name, epochs).mean)])
    .map(([row, means]) => [row, means.map((values) => (values.length ? mean(values) : null))])
    .filter(([, values]) => values.some(isNumber));
  if (!filled.length) return "No finished run of these rows has probed its gradients (train.probe).";
  filled.reverse();
  const z = filled.map(([, values]) => values);
  const most = Math.max(0.05, ...z.flat().map((value) => Math.abs(value ?? 0)));
  const scale = kind === "cos" ? [[0, css("--low")], [0.5, css("--surface")], [1, css("--high")]] : [[0, css("--surface")], [1, css("--high")]];
  const names = pairs.map((name) => name.slice(prefix.length).replace("/", " · "));
  const heat = {
    type: "heatmap",
    z,
    x: names.map((_, k) => k),
    y: filled.map((_, k) => k),
    zmin: kind === "cos" ? -most : 0,
    zmax: kind === "cos" ? most : 1,
    colorscale: scale,
    xgap: 2,
    ygap: 2,
    text: z.map((line) => line.map((value) => fixed(value, 2))),
    texttemplate: "%{text}",
    textfont: { color: css("--ink"), size: 12 },
    hoverinfo: "text",
    hovertext: z.map((line, r) => line.map((value, c) => `${plain(filled[r][0].label)}<br>${plain(names[c])}: ${fixed(value, 3)}`)),
    showscale: !narrow,
    colorbar: { thickness: 10, outlinewidth: 0, len: 0.9 },
  };
  return {
    data: [heat],
    layout: {
      height: Math.max(200, 32 * filled.length + 80),
      margin: { l: narrow ? 110 : 170, t: 36, b: 16 },
      xaxis: { tickvals: names.map((_, k) => k), ticktext: names.map((name) => cut(name, narrow ? 14 : 24)), side: "top", showgrid: false, zeroline: false },
      yaxis: { ...rowAxis(filled.map(([row]) => row), (k) => k, narrow ? 15 : 26), range: [-0.5, filled.length - 0.5] },
    },
  };
}

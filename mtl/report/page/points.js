// Rows as points of two quantities, and runs as lines over many.

/** Rows as points in two quantities, with intervals; better is up and, where `x` has a direction, right. */
function points(rows, x, y, narrow) {
  const filled = rows.filter((row) => row.cells[x.key] && row.cells[y.key]);
  const sign = (column) => (column.higher ? 1 : -1); // where lower is better the axis is reversed
  const spots = filled.map((row) => [sign(x) * row.cells[x.key][0], sign(y) * row.cells[y.key][0], row.label]);
  const labels = few(filled, narrow ? 8 : 20) ? labelPlaces(spots, narrow ? 270 : 480, 320) : [];
  const data = filled.map((row, k) => {
    const [a, b] = [row.cells[x.key], row.cells[y.key]];
    const ends = (cell) => ({ array: [cell[3] ? cell[3][1] - cell[0] : 0], arrayminus: [cell[3] ? cell[0] - cell[3][0] : 0] });
    const bars = (cell) => ({ ...ends(cell), type: "data", symmetric: false, color: faint(colorOf(row), 0.4), thickness: 1.2, width: 0 });
    return {
      type: "scatter",
      mode: labels[k] ? "markers+text" : "markers",
      x: [a[0]],
      y: [b[0]],
      error_x: bars(a),
      error_y: bars(b),
      text: [cut(row.label, 24)],
      textposition: labels[k] || "top center",
      textfont: { size: 11, color: css("--ink") },
      cliponaxis: false,
      hoverinfo: "text",
      hovertext: [`${plain(row.label)}<br>${axisName(x)}: ${fixed(a[0], x.decimals)}<br>${axisName(y)}: ${fixed(b[0], y.decimals)}`],
      marker: { color: colorOf(row), symbol: symbolOf(row), size: 11, line: { width: 1, color: css("--surface") } },
    };
  });
  return { filled, data };
}

/** Where each label stands beside its point, so that none covers another label or point; empty where it finds no room. */
function labelPlaces(spots, width, height) {
  const scale = (k, size) => {
    const values = spots.map((spot) => spot[k]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    return (value) => (size * 0.8 * (value - low)) / (high - low || 1);
  };
  const [sx, sy] = [scale(0, width), scale(1, height)];
  const taken = spots.map(([x, y]) => [sx(x) - 7, sy(y) - 7, sx(x) + 7, sy(y) + 7]);
  return spots.map(([x, y, label], own) => {
    const [cx, cy, long] = [sx(x), sy(y), 6.2 * Math.min(label.length, 24)];
    const boxes = {
      "middle right": [cx + 9, cy - 7, cx + 9 + long, cy + 7],
      "middle left": [cx - 9 - long, cy - 7, cx - 9, cy + 7],
      "top center": [cx - long / 2, cy + 7, cx + long / 2, cy + 21],
      "bottom center": [cx - long / 2, cy - 21, cx + long / 2, cy - 7],
    };
    const clear = (box) => box[0] > -0.12 * width && box[2] < 0.92 * width && taken.every((other, k) => k === own || box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
    const place = Object.keys(boxes).find((key) => clear(boxes[key]));
    if (place) taken.push(boxes[place]);
    return place ?? "";
  });
}

function frontPlot({ x, y }, rows, width) {
  const narrow = isNarrow(width);
  const [across, up] = [columnOf[x], columnOf[y]];
  const { filled, data } = points(rows, across, up, narrow);
  if (!filled.length) return "No row has both of these.";
  const front = frontOf(study.rows.filter((row) => ["constant", "sum"].includes(row.weighting)), across, up);
  if (front.length > 1) {
    data.unshift({
      type: "scatter",
      mode: "lines",
      x: front.map((row) => row.cells[x][0]),
      y: front.map((row) => row.cells[y][0]),
      line: { color: css("--muted"), width: 1.5, dash: "dot" },
      hoverinfo: "skip",
    });
  }
  const layout = {
    height: narrow ? 340 : 420,
    xaxis: { title: { text: axisName(across) }, autorange: across.higher ? true : "reversed" },
    yaxis: { title: { text: axisName(up) }, autorange: up.higher ? true : "reversed" },
  };
  return { data, layout, note: front.length > 1 ? "Dotted: the front of the fixed weights." : "" };
}

/** The rows that no other one beats in both, along x. */
function frontOf(rows, x, y) {
  const filled = rows.filter((row) => row.cells[x.key] && row.cells[y.key]);
  const at = (row) => [x, y].map((column) => (column.higher ? 1 : -1) * row.cells[column.key][0]);
  const beaten = (row) =>
    filled.some((other) => {
      const [a, b] = [at(row), at(other)];
      return b[0] >= a[0] && b[1] >= a[1] && (b[0] > a[0] || b[1] > a[1]);
    });
  return filled.filter((row) => !beaten(row)).sort((a, b) => at(a)[0] - at(b)[0]);
}

const COSTS = { step_ms: "milliseconds per step", train_s: "seconds of training", peak_mib: "peak memory (MiB)" };

function costPlot({ cost, quantity }, rows, width) {
  const narrow = isNarrow(width);
  const up = columnOf[quantity];
  const across = { key: "cost", name: COSTS[cost], decimals: 1, higher: true }; // to the right
  // The cost of a row is the sum over the runs of a block: a network per task costs all of them.
  const costOf = (runs) => runs.map((place) => study.runs[place].cost.find(([key]) => key === cost)?.[2]);
  const priced = rows.map((row) => {
    const blocks = row.runs.map(costOf).filter((values) => values.every(isNumber));
    if (!blocks.length) return { ...row, cells: {} };
    const total = mean(blocks.map((values) => values.reduce((sum, value) => sum + value, 0)));
    return { ...row, cells: { ...row.cells, cost: [total, null, [], null] } };
  });
  const { filled, data } = points(priced, across, up, narrow);
  if (!filled.length) return "No row has both of these.";
  const layout = {
    height: narrow ? 340 : 420,
    xaxis: { title: { text: plain(across.name) }, rangemode: "tozero" },
    yaxis: { title: { text: axisName(up) }, autorange: up.higher ? true : "reversed" },
  };
  return { data, layout };
}

/** The axes of the parallel coordinates: keys that differ, then results of a run. */
function parallelAxes() {
  const axes = study.keys.map((key, k) => ({ name: key, of: (row) => row.keys[k] }));
  if (new Set(study.rows.map((row) => row.weighting)).size > 1) axes.unshift({ name: "weighting", of: (row) => row.weighting });
  const metrics = study.columns.filter((column) => column.primary);
  metrics.forEach((column) => axes.push({ name: column.name, column, of: (row, b) => row.cells[column.key]?.[2][b] ?? null }));
  return axes.map((axis) => scaled(axis)).filter((axis) => axis.ticks.length > 1);
}

/** Adds `at` (value -> 0 to 1) and `ticks` ([place, text]): numbers on a line, better up; words in order. */
function scaled(axis) {
  const values = study.rows.flatMap((row) => row.blocks.map((_, b) => axis.of(row, b))).filter((v) => v !== null && v !== "");
  const numbers = values.map(Number);
  if (values.length && numbers.every(Number.isFinite)) {
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const place = (value) => (value === null || value === "" || high === low ? null : (Number(value) - low) / (high - low));
    const at = axis.column && !axis.column.higher ? (value) => flip(place(value)) : place;
    return { ...axis, at, ticks: high > low ? [low, high].map((end) => [at(end), short(end)]) : [] };
  }
  const words = [...new Set(values)];
  const at = (value) => (words.includes(value) ? (words.indexOf(value) + 0.5) / words.length : null);
  return { ...axis, at, ticks: words.map((word) => [at(word), cut(word, 16)]) };
}

const flip = (place) => (place === null ? null : 1 - place);

function parallelPlot({ brush }, rows, width) {
  const narrow = isNarrow(width);
  const axes = parallelAxes();
  if (axes.length < 2) return "Only one thing differs between the runs: nothing to set side by side.";
  const inside = (place, k) =>
    !brush || k < brush.x[0] || k > brush.x[1] || (place !== null && place >= brush.y[0] && place <= brush.y[1]);
  let kept = 0;
  let total = 0;
  const data = [];
  for (const row of rows) {
    for (const on of [false, true]) {
      const line = { x: [], y: [], hovertext: [], customdata: [] };
      row.blocks.forEach((block, b) => {
        const places = axes.map((axis) => axis.at(axis.of(row, b)));
        if (places.every(inside) !== on) return;
        places.forEach((place, k) => {
          if (place === null) return; // the run has no such key: its line goes past this axis
          line.x.push(k);
          line.y.push(place);
          const value = axes[k].of(row, b);
          line.hovertext.push(`${plain(row.label)}, ${plain(study.blocks.join("/"))} ${plain(block)}<br>${plain(axes[k].name)}: ${isNumber(value) ? short(value) : plain(value ?? "")}`);
          line.customdata.push(study.runs[row.runs[b][0]].name);
        });
        [line.x, line.y, line.hovertext, line.customdata].forEach((list) => list.push(null));
        kept += on;
        total += 1;
      });
      if (!line.x.length) continue;
      const color = on ? faint(colorOf(row), few(rows) ? 0.75 : 0.5) : faint(css("--muted"), 0.12);
      const trace = { ...line, type: "scatter", mode: "lines+markers", connectgaps: false, line: { color, width: 1.5 } };
      data[on ? "push" : "unshift"]({ ...trace, hoverinfo: on ? "text" : "skip", marker: { color, size: 5, symbol: symbolOf(row) } });
    }
  }
  const shapes = axes.map((_, k) => ({ type: "line", x0: k, x1: k, y0: 0, y1: 1, line: { color: css("--line"), width: 1 }, layer: "below" }));
  const annotations = axes.flatMap((axis, k) =>
    axis.ticks.map(([place, text]) => ({ x: k, y: place, text, showarrow: false, xanchor: "left", xshift: 5, yanchor: "middle", font: { size: 10.5, color: css("--muted") }, bgcolor: faint(css("--surface"), 0.7) })),
  );
  const layout = {
    height: 400,
    width: narrow ? Math.max(320, 96 * axes.length) : undefined,
    margin: { l: 24, r: 64, t: 54, b: 20 },
    shapes,
    annotations,
    dragmode: "select",
    xaxis: { tickvals: axes.map((_, k) => k), ticktext: axes.map((axis) => cut(axis.name.replace(/ \(.*\)/, ""), narrow ? 12 : 20)), side: "top", showgrid: false, zeroline: false, range: [-0.1, axes.length - 0.8], tickangle: axes.length > 11 ? -35 : 0 },
    yaxis: { visible: false, range: [-0.05, 1.05] },
  };
  const note = brush ? `${kept} of ${many(total, "run")} inside the box; double-click to clear it.` : "";
  return { data, layout, note };
}

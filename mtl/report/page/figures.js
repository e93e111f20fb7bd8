// The cards of the figures: their choices, and when they are drawn: not before they are seen, and again on a change.

const plotly = once(async () => {
  const script = el("script");
  script.textContent = await unpacked("data-plotly");
  document.head.append(script);
  return window.Plotly;
});

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");

function baseLayout() {
  const axis = { gridcolor: css("--line"), linecolor: css("--line"), zerolinecolor: css("--line"), automargin: true, ticks: "", title: { standoff: 8 } };
  return {
    axis,
    layout: {
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 12, color: css("--muted") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 56, r: 16, t: 28, b: 44 },
      showlegend: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--line"), font: { color: css("--ink"), size: 12.5 }, align: "left" },
      dragmode: "zoom",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--accent") },
    },
  };
}

// The buttons are named one by one: plotly's own choice has one that sends the figure to its maker's server.
const optionsOf = (layout, narrow) => ({
  displaylogo: false,
  displayModeBar: narrow ? false : "hover",
  responsive: true,
  plotlyServerURL: "",
  modeBarButtons: [[...(layout.dragmode === "select" ? ["select2d"] : ["zoom2d", "pan2d"]), "resetScale2d", "toImage"]],
  toImageButtonOptions: { format: "svg", filename: `${study.name} figure` },
});

/** Draws `{data, layout}` into `place`, or writes the sentence that it is instead. */
async function drawInto(place, drawn) {
  const Plotly = await plotly();
  if (typeof drawn === "string") {
    Plotly.purge(place);
    place.replaceChildren(el("p", { class: "empty" }, drawn));
    return;
  }
  if (place.querySelector(".empty")) place.replaceChildren();
  const { axis, layout } = baseLayout();
  const merged = { ...layout, ...drawn.layout, margin: { ...layout.margin, ...drawn.layout.margin } };
  for (const key of new Set([...Object.keys(drawn.layout).filter((k) => /^[xy]axis/.test(k)), "xaxis", "yaxis"])) {
    const own = drawn.layout[key] ?? {};
    merged[key] = { ...axis, ...own, title: { ...axis.title, ...own.title } };
  }
  await Plotly.react(place, drawn.data, merged, optionsOf(merged, isNarrow(place.clientWidth)));
}

const metricOptions = (epochs) => epochs.columns.filter((name) => name !== "epoch").map((name) => [name, name]);
const cellOptions = () => study.columns.filter((column) => column.primary).map((column) => [column.key, column.name]);
const taskOptions = () => study.tasks.filter((task) => columnOf[task.primary]).map((task) => [task.primary, columnOf[task.primary].name]);

/** id, title, what it says, choices [name, label, options, first], whether it takes the whole width, how it is drawn. */
const FIGURES = [
  {
    id: "scores",
    title: "Results by row",
    hint: "Small: a seed each (click opens its run). Large: the mean, with its own interval; better is to the right.",
    choices: () => [["quantity", "quantity", cellOptions(), headline]],
    draw: scoresPlot,
  },
  {
    id: "curves",
    title: "Curves",
    hint: "Mean over seeds at each epoch; with up to six rows, shaded from the lowest seed to the highest.",
    choices: (epochs) => {
      const options = metricOptions(epochs);
      const names = options.map(([name]) => name);
      return [["metric", "metric", options, names.includes("val/score") ? "val/score" : names[0]]];
    },
    draw: curvesPlot,
  },
  {
    id: "front",
    title: "One task against another",
    hint: "Better is up and right. Bars: intervals over seeds.",
    choices: () => {
      const options = taskOptions();
      return [["x", "across", options, options[0]?.[0]], ["y", "up", options, options[1]?.[0]]];
    },
    draw: frontPlot,
    needs: () => taskOptions().length > 1,
  },
  {
    id: "cost",
    title: "Quality against cost",
    hint: "Better is up, cheaper is left; a row of single-task runs costs all of them.",
    choices: () => [
      ["cost", "cost", Object.entries(COSTS), "step_ms"],
      ["quantity", "quality", cellOptions().filter(([key]) => key !== "step_ms"), headline],
    ],
    draw: costPlot,
  },
  {
    id: "weights",
    title: "Weights of the tasks",
    hint: "What each method sent into the network, mean over seeds; the share is the weight over the sum of weights.",
    choices: () => [["kind", "show", [["share", "share"], ["weight", "effective weight"]], "share"]],
    wide: true,
    draw: weightsPlot,
    needs: () => study.tasks.length > 1,
  },
  {
    id: "conflict",
    title: "Conflicts between gradients",
    hint: "Mean over epochs and seeds of the probes of the shared parameters, per pair of tasks.",
    choices: () => [
      ["kind", "show", [["cos", "cosine"], ["share", "share of conflicting steps"], ["gms", "similarity of lengths"]], "cos"],
    ],
    wide: true,
    draw: conflictPlot,
    needs: () => study.tasks.length > 1,
  },
  {
    id: "parallel",
    title: "The study in parallel coordinates",
    hint: "A line is a run (click opens it); better is up. Drag a box over an axis to keep only the runs in it.",
    choices: () => [],
    wide: true,
    draw: parallelPlot,
  },
];

const cards = [];
const isNarrow = (width) => width < 520;

function showFigures(place) {
  const chips = el("div", { class: "chips legend", role: "group", "aria-label": "Rows in the figures" });
  const grid = el("div", { class: "cards" });
  place.append(
    el("h2", { id: "h-figures" }, "Figures"),
    el("p", { class: "hint" }, "They show the rows that pass the filter, or only those picked here or in the table."),
    chips,
    grid,
  );
  const seen = new IntersectionObserver((entries) => entries.forEach(follow), { rootMargin: "150px" });
  for (const figure of FIGURES.filter((one) => one.needs?.() ?? true)) {
    const card = { figure, values: {}, dirty: true, visible: false, controls: el("div", { class: "controls" }), note: el("p", { class: "note" }) };
    card.plot = el("div", { class: "plot", id: `figure-${figure.id}` }, el("p", { class: "empty" }, "…"));
    const heading = el("div", { class: "titled" }, el("h3", {}, figure.title), card.controls);
    card.node = el("article", { class: figure.wide ? "card whole" : "card" }, heading, el("p", { class: "hint" }, figure.hint), card.plot, card.note);
    grid.append(card.node);
    cards.push(card);
    seen.observe(card.node);
  }
  listeners.push(() => {
    const focused = chips.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    chips.replaceChildren(...shownRows().map(legendChip));
    if (focused) chips.querySelector(`[data-row="${focused}"]`)?.focus();
    redraw();
  });
  dark.addEventListener("change", redraw);
}

function legendChip(row) {
  const pressed = String(state.selected.has(row.place));
  return el(
    "button",
    { type: "button", class: "chip", "aria-pressed": pressed, "data-row": row.place, onclick: () => toggleSelected(row) },
    mark(row),
    row.label,
  );
}

function follow(entry) {
  const card = cards.find(({ node }) => node === entry.target);
  card.visible = entry.isIntersecting;
  if (card.visible && card.dirty) drawCard(card);
}

function redraw() {
  for (const card of cards) {
    card.dirty = true;
    if (card.visible) drawCard(card);
  }
}

async function drawCard(card) {
  card.dirty = false;
  const epochs = await histories();
  if (!card.controls.children.length) addControls(card, epochs);
  const drawn = card.figure.draw(card.values, plottedRows(), card.plot.clientWidth, epochs);
  await drawInto(card.plot, drawn);
  card.note.textContent = drawn.note ?? "";
  if (!card.listening && card.plot.on) listen(card);
}

function addControls(card, epochs) {
  for (const [name, label, options, first] of card.figure.choices(epochs)) {
    card.values[name] = first;
    if (options.length < 2) continue;
    const pick = choice(label, options, first, (value) => {
      card.values[name] = value;
      drawCard(card);
    });
    card.controls.append(pick);
  }
}

/** A click on a run's point opens it; a box over parallel coordinates keeps the runs in it. */
function listen(card) {
  card.listening = true;
  card.plot.on("plotly_click", ({ points: [point] }) => {
    if (point?.customdata) location.hash = runHash({ name: point.customdata });
  });
  if (card.figure.id !== "parallel") return;
  const brush = (box) => {
    card.values.brush = box;
    drawCard(card);
  };
  card.plot.on("plotly_selected", (event) => event?.range && brush({ x: sorted(event.range.x), y: sorted(event.range.y) }));
  card.plot.on("plotly_deselect", () => brush(null));
  card.plot.on("plotly_doubleclick", () => brush(null));
}

const sorted = ([a, b]) => [Math.min(a, b), Math.max(a, b)];

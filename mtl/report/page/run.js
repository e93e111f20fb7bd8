// One run in a drawer: results, curves, weights, what its config has other than the baseline's, its surroundings.

const runHash = (run) => `#run=${encodeURIComponent(run.name)}`;

function runOfHash() {
  if (!location.hash.startsWith("#run=")) return null;
  const name = decodeURIComponent(location.hash.slice(5));
  return study.runs.find((run) => run.name === name) ?? null;
}

function followHash() {
  const drawer = byId("drawer");
  const run = runOfHash();
  if (!run) {
    if (drawer.open) drawer.close();
    return;
  }
  drawer.replaceChildren(...drawRun(run));
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  drawer.querySelector("h2").focus();
  drawRunFigures(run, drawer);
}

function showDrawer() {
  const drawer = byId("drawer");
  drawer.addEventListener("close", () => {
    if (location.hash.startsWith("#run=")) history.replaceState(null, "", location.href.split("#")[0]);
  });
  drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
  drawer.addEventListener("keydown", (event) => {
    if (["INPUT", "SELECT", "CODE"].includes(event.target.tagName)) return;
    const name = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
    const link = name && drawer.querySelector(`a[rel=${name === "next" ? "next" : "prev"}]`);
    if (link) location.replace(link.href);
  });
  addEventListener("hashchange", followHash);
  followHash();
}

/** The baseline's run that `run` is to be compared with: of the same block and, for one task, with that task. */
function counterpart(run) {
  const row = study.rows[run.row];
  const base = row && study.rows[row.compared[headline]?.baseline ?? -1];
  if (!base) return null;
  const block = row.blocks[row.runs.findIndex((runs) => runs.includes(study.runs.indexOf(run)))];
  const runs = base.runs[base.blocks.indexOf(block)] ?? base.runs[0];
  return study.runs[runs[0]];
}

const configOf = (run) => {
  const config = { ...study.common, ...run.config };
  run.lacks.forEach((key) => delete config[key]);
  return config;
};

function drawRun(run) {
  const row = study.rows[run.row] ?? null;
  const base = counterpart(run);
  const close = el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => byId("drawer").close() }, "×");
  const facts = [["status", run.status], ["seed", run.seed], ["tasks", run.tasks.join(", ")], ["tested at epoch", run.selected]];
  facts.push(["started", moment(run.started)], ["ended", moment(run.ended)]);
  const parts = [
    el("div", { class: "top" }, el("p", { class: "eyebrow" }, row ? mark(row) : null, row ? row.label : run.weighting ?? "run"), siblings(run, row), close),
    el("h2", { id: "h-run", tabindex: -1 }, run.name),
    definitions(facts),
  ];
  if (run.error) parts.push(el("p", { class: "failure" }, run.error));
  if (run.traceback) parts.push(folded("Traceback", () => el("pre", {}, run.traceback)));
  if (Object.keys(run.values).length) parts.push(el("h3", {}, "Results"), resultsOf(run, base));
  if (run.status === "done") {
    parts.push(el("div", { class: "curve" }), el("div", { class: "weight" }));
  }
  parts.push(...configParts(run, base));
  if (run.command) parts.push(el("h3", {}, "Trains it again"), command(run.command));
  if (run.cost.length) parts.push(el("h3", {}, "Cost"), definitions(run.cost.map(([, title, value]) => [title, short(value)])));
  const environment = Object.entries(study.environments[run.environment]);
  if (environment.length) parts.push(folded("Environment", () => definitions(environment)));
  return [el("div", { class: "inner" }, parts)];
}

/** Links to the runs before and after it in its row. */
function siblings(run, row) {
  const places = row ? row.runs.flat() : [];
  const at = places.indexOf(study.runs.indexOf(run));
  const link = (place, rel, sign) => {
    const other = study.runs[place];
    if (!other) return null;
    const click = (event) => {
      event.preventDefault();
      location.replace(runHash(other));
    };
    return el("a", { href: runHash(other), rel, class: "chip", onclick: click, "aria-label": `${rel === "next" ? "Next" : "Previous"} run of the row: ${other.name}` }, sign);
  };
  return el("span", { class: "siblings" }, at < 0 ? null : [link(places[at - 1], "prev", "←"), link(places[at + 1], "next", "→")]);
}

const moment = (text) => (text ? text.replace("T", " ").replace(/(\+00:00|Z)$/, " UTC") : "");

function definitions(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", {}, shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}

/** Details whose content is made when they are first opened. */
function folded(title, make) {
  const details = el("details", {}, el("summary", {}, title));
  details.addEventListener("toggle", () => details.children.length === 1 && details.append(make()));
  return details;
}

function resultsOf(run, base) {
  const other = base && base !== run ? base : null;
  const lines = [];
  const add = (title, key, decimals, trivial) => {
    const of = (split, from = run) => from.values[`${split}/${key}`];
    if (!isNumber(of("test")) && !isNumber(of("val"))) return;
    const difference = other && isNumber(of("test", other)) && isNumber(of("test")) ? signed(of("test") - of("test", other), decimals) : "";
    const cells = [fixed(of("test"), decimals), ...(other ? [difference] : []), fixed(of("val"), decimals), trivial ? fixed(of("trivial"), decimals) : ""];
    lines.push(el("tr", {}, el("th", { scope: "row", class: "word" }, title), cells.map((text) => el("td", { class: "number" }, text))));
  };
  for (const task of run.tasks) {
    for (const [metric, [label, unit, higher]] of Object.entries(study.metrics)) {
      const words = `${task} ${label}${unit && unit !== "fraction" ? ` (${unit})` : ""} ${higher ? "↑" : "↓"}`;
      add(words, `${task}/${metric}`, unit === "years" ? 2 : 4, true);
    }
  }
  add("score (points) ↑", "score", 2, false);
  const titles = ["", "test", ...(other ? ["− baseline"] : []), "validation", "trivial guess"];
  const hint = (title) => (title === "− baseline" ? `test, minus that of ${other.name}` : null);
  const head = el("tr", {}, titles.map((title) => el("th", { scope: "col", title: hint(title) }, title)));
  return el("div", { class: "wide" }, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, lines)));
}

function configParts(run, base) {
  const config = configOf(run);
  if (!Object.keys(config).length) return [];
  const whole = folded("Whole config", () => configTable([["key"], ["value"]], Object.entries(config)));
  if (!base || base === run) return [el("h3", {}, "Config"), base ? el("p", { class: "hint" }, "This is the baseline's run.") : null, whole];
  const theirs = configOf(base);
  const keys = [...new Set([...Object.keys(config), ...Object.keys(theirs)])].filter((key) => config[key] !== theirs[key]);
  const lines = keys.map((key) => [key, config[key] ?? "—", theirs[key] ?? "—"]);
  const difference = lines.length
    ? configTable([["key"], ["this run"], [base.name]], lines)
    : el("p", { class: "hint" }, "The same as the baseline's in every key.");
  return [el("h3", {}, "Differs from the baseline's run in"), difference, whole];
}

function configTable(titles, lines) {
  const head = el("tr", {}, titles.map((title) => el("th", { scope: "col" }, title)));
  const body = lines.map(([key, ...values]) =>
    el("tr", {}, el("th", { scope: "row" }, key), values.map((value) => el("td", {}, value))),
  );
  return el("div", { class: "wide" }, el("table", { class: "plain config" }, el("thead", {}, head), el("tbody", {}, body)));
}

/** The curves of a run with a choice of what they show, and its weights, below each other. */
async function drawRunFigures(run, drawer) {
  const place = drawer.querySelector(".curve");
  const epochs = place && (await histories());
  const columns = epochs?.runs[run.name];
  if (!columns || !place.isConnected) return;
  const row = study.rows[run.row];
  const groups = curveGroups(epochs, columns, run);
  if (!groups.length) return;
  const plot = el("div", { class: "plot" });
  const draw = (name) => drawInto(plot, runPlot(groups.find(([title]) => title === name), epochs, columns, run, row));
  const pick = choice("show", groups.map(([title]) => [title, title]), groups[0][0], draw);
  place.append(el("div", { class: "titled" }, el("h3", {}, "Curves"), pick), plot);
  await draw(groups[0][0]);
  const weights = groups.find(([title]) => title === "share" || title === "weight");
  if (!weights || run.tasks.length < 2) return;
  const second = el("div", { class: "plot" });
  drawer.querySelector(".weight")?.append(el("h3", {}, "Weights of the tasks"), second);
  await drawInto(second, runPlot(weights, epochs, columns, run, row));
}

/** [title, columns]: one value each, or a value per task drawn together. */
function curveGroups(epochs, columns, run) {
  const filled = epochs.columns.filter((name, k) => name !== "epoch" && columns[k].some(isNumber));
  const groups = new Map();
  for (const name of filled) {
    const task = run.tasks.find((one) => name.split("/").includes(one) && !name.startsWith("conflict/cos"));
    const title = task && /^(train\/loss|val\/loss|weight|share)\//.test(name) ? name.split("/").slice(0, -1).join("/") : name;
    groups.set(title, [...(groups.get(title) ?? []), name]);
  }
  const first = ["val/score", "train/loss", "val/loss", "share", "weight"];
  const rank = ([title]) => (first.includes(title) ? first.indexOf(title) : first.length);
  return [...groups].sort((a, b) => rank(a) - rank(b));
}

function runPlot([title, names], epochs, columns, run, row) {
  const data = names.map((name, k) => {
    const color = names.length > 1 || !row ? css(`--c${k % NUM_COLORS}`) : colorOf(row);
    const values = columns[epochs.columns.indexOf(name)];
    return {
      type: "scatter",
      mode: "lines+markers",
      name: plain(name.split("/").pop()),
      x: columns[0],
      y: values,
      hoverinfo: "text",
      hovertext: columns[0].map((epoch, e) => `${plain(name)}<br>epoch ${epoch}: ${short(values[e])}`),
      line: { color, width: 2, dash: DASHES[k % DASHES.length] },
      marker: { color, size: 5, symbol: SYMBOLS[k % SYMBOLS.length] },
    };
  });
  const chosen = { type: "line", x0: run.selected, x1: run.selected, yref: "paper", y0: 0, y1: 1, line: { color: css("--muted"), dash: "dot", width: 1 } };
  return {
    data,
    layout: {
      height: 260,
      showlegend: names.length > 1,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      margin: { t: names.length > 1 ? 30 : 12 },
      shapes: run.selected ? [chosen] : [],
      xaxis: { title: { text: "epoch" }, tickformat: "d" },
      yaxis: { title: { text: plain(title) } },
    },
  };
}

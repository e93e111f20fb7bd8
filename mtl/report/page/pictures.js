// The worst test pictures of a row, task by task, and the runs that are not in the table.

function showMistakes(place) {
  const { worst, notes, copies } = study.pictures;
  const tasks = Object.keys(worst);
  const title = el("h2", { id: "h-mistakes" }, "Worst test pictures");
  if (!tasks.length) {
    place.append(title, ...notes.map((note) => el("p", { class: "hint" }, note)));
    return;
  }
  const box = el("div");
  const rows = study.rows.filter((row) => tasks.some((task) => worst[task][row.place]));
  const first = bestRow(rows) ?? rows[0];
  const pick = choice("of", rows.map((row) => [row.place, row.label]), first.place, (value) => draw(Number(value)));
  const draw = (chosen) => box.replaceChildren(...tasks.map((task) => strip(task, worst[task][chosen] ?? [], copies)));
  const hint = "Largest errors and most confident mistakes, the mean over the row's seeds. The labels may be what is wrong.";
  place.append(el("div", { class: "titled" }, title, pick), el("p", { class: "hint" }, hint), ...notes.map((note) => el("p", { class: "hint" }, note)), box);
  draw(first.place);
}

function strip(task, found, copies) {
  const figures = found.map(([id, truth, predicted]) => {
    const name = id.split("/").pop();
    const picture = copies[id]
      ? el("img", { src: copies[id], alt: `Test picture ${name}`, width: 80, height: 80, loading: "lazy" })
      : el("span", { class: "gone", "aria-hidden": "true" });
    const words = [el("b", {}, predicted), el("span", {}, `truth ${truth}`), el("span", { class: "id", title: id }, name)];
    return el("figure", {}, picture, el("figcaption", {}, words));
  });
  const content = figures.length ? figures : [el("p", { class: "hint" }, "No mistake.")];
  return el("div", { class: "task" }, el("h3", {}, task), el("div", { class: "strip" }, content));
}

function showUnfinished(place) {
  const runs = study.runs.filter((run) => run.status !== "done");
  if (!runs.length) {
    place.remove();
    return;
  }
  const lines = runs.map((run) =>
    el(
      "li",
      {},
      el("span", { class: `pill ${run.status}` }, run.status),
      el("a", { href: runHash(run) }, run.name),
      el("span", { class: "reason" }, run.error.split("\n")[0]),
    ),
  );
  place.append(el("h2", { id: "h-unfinished" }, `Not in the table: ${many(runs.length, "run")}`), el("ul", { class: "unfinished" }, lines));
}

function showReading(place) {
  const lines = [...study.lines, ...study.notes];
  place.append(el("h2", { id: "h-reading" }, "How to read this"), ...lines.map((line) => el("p", {}, line)));
}

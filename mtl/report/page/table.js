// The table of rows: sorted by any column, filtered, each row opening its runs, command and comparisons.

const open = new Set(); // places of rows that show more

function showFilters(place) {
  const search = el("input", {
    type: "search",
    placeholder: "Filter rows",
    "aria-label": "Filter rows by text",
    oninput: (event) => change({ text: event.target.value }),
  });
  const selects = FILTERS.map(([name, of]) => {
    const values = [...new Set(study.rows.map(of))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const options = [["*", "any"], ...values.map((value) => [`=${value}`, value === "" ? "(none)" : value])];
    return choice(name, options, "*", (value) => {
      const keys = { ...state.keys };
      delete keys[name];
      if (value !== "*") keys[name] = value.slice(1);
      change({ keys });
    });
  });
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Filter by verdict" });
  const count = el("span", { class: "count", role: "status" });
  const clear = el(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        search.value = "";
        place.querySelectorAll(".filters select").forEach((select) => (select.value = "*"));
        change({ text: "", keys: {}, verdicts: new Set(), selected: new Set() });
      },
    },
    "Clear",
  );
  const all = el("input", { type: "checkbox", onchange: (event) => change({ all: event.target.checked }) });
  const more = study.columns.some((column) => !column.primary);
  place.append(
    el("div", { class: "filters" }, search, selects, chips),
    el("div", { class: "filters" }, count, clear, more && el("label", { class: "check" }, all, "All metrics")),
  );
  listeners.push(() => {
    const kinds = Object.keys(VERDICTS).filter((kind) => study.rows.some((row) => verdictOf(row) === kind));
    const focused = chips.contains(document.activeElement) ? document.activeElement.dataset.kind : null;
    chips.replaceChildren(...(kinds.length > 1 ? kinds.map(chip) : []));
    if (focused) chips.querySelector(`[data-kind="${focused}"]`)?.focus();
    const [shown, chosen] = [shownRows().length, state.selected.size];
    count.textContent = `${shown} of ${many(study.rows.length, "row")}${chosen ? `, ${chosen} selected` : ""}`;
    clear.hidden = !(state.text || chosen || state.verdicts.size || Object.keys(state.keys).length);
  });
}

function chip(kind) {
  const [sign, words] = VERDICTS[kind];
  const toggle = () => {
    const verdicts = new Set(state.verdicts);
    if (!verdicts.delete(kind)) verdicts.add(kind);
    change({ verdicts });
  };
  const pressed = String(state.verdicts.has(kind));
  return el(
    "button",
    { type: "button", class: `chip ${kind}`, "aria-pressed": pressed, "data-kind": kind, onclick: toggle },
    `${sign} ${words}`,
  );
}

function showTable(place) {
  const wrapper = el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Table of rows" });
  place.append(
    el("h2", { id: "h-table" }, "Rows"),
    el(
      "p",
      { class: "hint" },
      "A row is a configuration; numbers are means ± standard deviations over its seeds. Open a row for its runs and " +
        "its command, tick rows to have only them in the figures.",
    ),
  );
  showFilters(place);
  place.append(wrapper);
  listeners.push(() => {
    const focused = wrapper.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const left = wrapper.scrollLeft;
    wrapper.replaceChildren(drawTable());
    wrapper.scrollLeft = left;
    if (focused) wrapper.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  });
}

/** Columns of the table: [sort key, heading in two lines, cell of a row, class, heading's hint]. */
function tableColumns() {
  const metrics = study.columns.filter((column) => column.primary || state.all);
  const first = metrics.filter((column) => column.key === headline);
  const others = metrics.filter((column) => column.key !== headline);
  const numeric = (column) => [column.key, column.title, (row) => numberCell(row, column), "number", column.higher];
  const quantity = columnOf[state.quantity];
  const columns = [["label", ["row", ""], labelCell, "label", false]];
  study.keys.forEach((key, k) => columns.push([`key:${k}`, [key, ""], (row) => [row.keys[k]], "word", false]));
  columns.push(...first.map(numeric));
  if (quantities.length) {
    const title = ["difference", quantity.key === SCORE ? "in score" : quantity.name.replace(/ [↑↓]$/, "")];
    columns.push(["difference", title, differenceCell, "difference", quantity.higher]);
  }
  columns.push(...others.map(numeric));
  columns.push(["seeds", ["seeds", ""], (row) => [String(row.blocks.length)], "number", true]);
  return columns;
}

function drawTable() {
  const columns = tableColumns();
  const head = columns.map(([key, title, , kind, down]) => {
    const sorted = state.sort.key === key;
    const direction = sorted ? (state.sort.down ? "descending" : "ascending") : "none";
    const sort = () => change({ sort: { key, down: sorted ? !state.sort.down : down } });
    const arrow = sorted ? (state.sort.down ? "▾" : "▴") : "";
    return el(
      "th",
      { scope: "col", class: kind, "aria-sort": direction },
      el(
        "button",
        { type: "button", "data-focus": `sort ${key}`, onclick: sort },
        el("span", {}, title[0]),
        el("span", { class: "unit" }, title[1]),
        el("span", { class: "arrow", "aria-hidden": "true" }, arrow),
      ),
    );
  });
  const body = el("tbody");
  for (const row of shownRows()) {
    const line = columns.map(([, , cell, kind], c) =>
      el(c ? "td" : "th", { class: kind, scope: c ? null : "row" }, cell(row)),
    );
    body.append(el("tr", { class: state.selected.has(row.place) ? "selected" : "", "data-row": row.place }, line));
    if (open.has(row.place)) body.append(el("tr", { class: "more" }, el("td", { colspan: columns.length }, moreOf(row))));
  }
  if (!body.children.length) {
    body.append(el("tr", {}, el("td", { colspan: columns.length, class: "empty" }, "No row passes the filter.")));
  }
  for (const trivial of study.trivial) body.append(trivialLine(trivial, columns));
  return el("table", { class: "rows" }, el("thead", {}, el("tr", {}, head)), body);
}

function trivialLine(trivial, columns) {
  const cells = columns.map(([key], c) => {
    if (!c) return el("th", { class: "label", scope: "row", title: "the training median or the most frequent class" }, "trivial guess");
    const column = columnOf[key];
    const text = column ? fixed(trivial.cells[key]?.[0], column.decimals) : "";
    return el("td", { class: "number" }, key.startsWith("key:") ? trivial.keys[Number(key.slice(4))] : text);
  });
  return el("tr", { class: "trivial" }, cells);
}

function labelCell(row) {
  const tick = el("input", {
    type: "checkbox",
    checked: state.selected.has(row.place),
    "aria-label": `Select ${row.label}`,
    "data-focus": `tick ${row.place}`,
    onchange: () => toggleSelected(row),
  });
  const toggle = () => {
    if (!open.delete(row.place)) open.add(row.place);
    change({});
  };
  const button = el(
    "button",
    {
      type: "button",
      class: "row",
      "aria-expanded": String(open.has(row.place)),
      "data-focus": `row ${row.place}`,
      onclick: toggle,
      onkeydown: moveFocus,
    },
    mark(row),
    el("span", {}, (study.keys.length && row.weighting) || row.label),
  );
  return [tick, button, row.baseline ? el("span", { class: "tag" }, "baseline") : null];
}

/** Arrow keys go from row to row. */
function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...event.currentTarget.closest("tbody").querySelectorAll("button.row")];
  buttons[buttons.indexOf(event.currentTarget) + step]?.focus();
  event.preventDefault();
}

function numberCell(row, column) {
  const cell = row.cells[column.key];
  if (!cell) return [];
  const [value, sd] = cell;
  const kind = verdictOf(row, column.key);
  const sign = kind === "better" || kind === "worse" ? VERDICTS[kind] : null;
  return [
    el("span", { class: "mean" }, fixed(value, column.decimals)),
    isNumber(sd) ? el("span", { class: "sd" }, `± ${fixed(sd, column.decimals)}`) : null,
    el(
      "span",
      { class: `sign ${sign ? kind : ""}`, title: row.compared[column.key]?.sentence },
      sign ? sign[0] : "",
      sign ? el("span", { class: "hidden" }, ` ${sign[1]}`) : "",
    ),
  ];
}

function differenceCell(row) {
  const one = row.compared[state.quantity];
  if (!one) return [row.baseline ? el("span", { class: "muted" }, "baseline") : null];
  const decimals = decimalsOf(columnOf[state.quantity]);
  return [
    el(
      "span",
      { class: "parts", title: one.sentence },
      el("span", { class: "mean" }, signed(one.difference, decimals)),
      el("span", { class: "sd" }, span(one.interval, decimals)),
      forest(one, forestScale(), verdictOf(row)),
      pill(verdictOf(row)),
    ),
  ];
}

function moreOf(row) {
  const column = columnOf[headline];
  const values = row.cells[headline]?.[2] ?? [];
  const chips = row.runs.flatMap((runs, b) =>
    runs.map((place) => {
      const run = study.runs[place];
      const words = [`${study.blocks.join("/")} ${row.blocks[b]}`];
      if (runs.length > 1) words.push(run.tasks.join(", "));
      else if (isNumber(values[b])) words.push(fixed(values[b], column.decimals));
      return el("a", { class: "chip", href: runHash(run) }, words.join(" · "));
    }),
  );
  const compared = quantities.filter((quantity) => row.compared[quantity.key]);
  const parts = [el("h3", {}, many(chips.length, "run")), el("div", { class: "chips" }, chips)];
  if (row.command) parts.push(el("h3", {}, "Trains them again"), command(row.command));
  if (row.same_as.length) parts.push(el("p", {}, `The same method in theory as ${row.same_as.join(", ")}.`));
  if (compared.length) {
    const base = study.rows[compared[0] ? row.compared[compared[0].key].baseline : 0];
    parts.push(el("h3", {}, `Against ${base.label}`), comparedTable(row, compared));
  }
  return el("div", { class: "details" }, parts);
}

function comparedTable(row, compared) {
  const titles = ["", "difference", "over seeds", "over test pictures", "p", "prob. of improvement", "verdict"];
  const lines = compared.map((quantity) => {
    const one = row.compared[quantity.key];
    const decimals = decimalsOf(quantity);
    const needed = one.verdict === "undecided" && one.seeds_needed ? ` (about ${one.seeds_needed} seeds would decide)` : "";
    const cells = [
      signed(one.difference, decimals),
      span(one.interval, decimals),
      span(one.pictures, decimals),
      isNumber(one.p) ? (one.p < 0.001 ? "< 0.001" : fixed(one.p, 3)) : "",
      isNumber(one.improvement) ? fixed(one.improvement, 2) : "",
    ];
    const words = one.refused || (one.verdict ? `${one.verdict}${needed}` : "one seed, no interval");
    return el(
      "tr",
      {},
      el("th", { scope: "row", class: "word" }, quantity.name),
      cells.map((text) => el("td", { class: "number" }, text)),
      el("td", { class: `word ${verdictOf(row, quantity.key)}` }, words),
    );
  });
  const head = el("tr", {}, titles.map((title) => el("th", { scope: "col" }, title)));
  return el("div", { class: "wide" }, el("table", { class: "plain" }, el("thead", {}, head), el("tbody", {}, lines)));
}

// Puts the page together.

function showHead(place) {
  document.title = `${study.name} · mtl`;
  const badge = study.synthetic ? el("span", { class: "tag strong", title: "drawn data, no photographs" }, "synthetic") : null;
  place.append(
    el("p", { class: "eyebrow" }, "mtl study"),
    el("h1", {}, study.name, badge),
    el("dl", { class: "facts" }, study.facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text)))),
  );
}

function showNav(place) {
  const links = [["verdict", "Verdict"], ["table", "Rows"], ["figures", "Figures"], ["mistakes", "Pictures"], ["unfinished", "Unfinished"], ["reading", "Reading"]];
  const kept = links.filter(([id]) => byId(id));
  place.append(el("b", {}, study.name), ...kept.map(([id, text]) => el("a", { href: `#${id}` }, text)));
}

function showFoot(place) {
  const words = ["One file; it asks no network for anything."];
  if (Object.keys(study.pictures.copies).length) words.push("It contains test pictures: mind who gets it.");
  words.push("Runs are opened by #run=NAME in the address; arrow keys go through rows and runs, Escape closes.");
  place.append(el("p", {}, words.join(" ")));
}

showHead(byId("head"));
showVerdicts(byId("verdict"));
showTable(byId("table"));
showFigures(byId("figures"));
showMistakes(byId("mistakes"));
showUnfinished(byId("unfinished"));
showReading(byId("reading"));
showNav(byId("nav"));
showFoot(byId("foot"));
change({});
showDrawer();
document.documentElement.dataset.ready = "true";

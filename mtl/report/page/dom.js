// Elements, numbers as text, and unpacking. Text becomes text nodes only: a name never becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const minus = (text) => text.replace(/-(?=[\d.])/g, "−");
const noZero = (text) => (Number(text) === 0 ? text.replace("-", "") : text);
const fixed = (value, decimals) => (isNumber(value) ? minus(noZero(value.toFixed(decimals))) : "");
const signed = (value, decimals) => (value > 0 ? "+" : "") + fixed(value, decimals);
const span = (interval, decimals) => (interval ? `[${interval.map((end) => fixed(end, decimals)).join(", ")}]` : "");
const short = (value) => (isNumber(value) ? minus(String(Number(value.toPrecision(4)))) : "");
const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** A select with a label; `options` are [value, text]. */
function choice(label, options, value, onchange) {
  const select = el("select", { onchange: (event) => onchange(event.target.value) });
  select.append(...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", { class: "choice" }, el("span", {}, label), select);
}

/** A command in one line that scrolls, and a button that copies it. */
function command(text) {
  const code = el("code", { tabindex: 0 }, text);
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    say((await copied(text, code)) ? "Copied" : "Press Ctrl-C to copy");
  });
  return el("div", { class: "command" }, code, button);
}

async function copied(text, node) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return document.execCommand("copy");
  }
}

let quiet;
function say(words) {
  const box = byId("said");
  box.textContent = words;
  box.classList.remove("hidden");
  clearTimeout(quiet);
  quiet = setTimeout(() => box.classList.add("hidden"), 1800);
}

/** The text of a packed script element. */
async function unpacked(id) {
  const letters = atob(byId(id).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k += 1) bytes[k] = letters.charCodeAt(k);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const once = (make) => {
  let made;
  return () => (made ??= make());
};

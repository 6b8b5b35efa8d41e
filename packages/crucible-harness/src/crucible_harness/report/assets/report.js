"use strict";
// Charts, theme and the item explorer. Everything that a model or a data set wrote reaches the page
// through textContent alone.

const SIGNS = { right: "✓", partly: "◐", wrong: "✗", failed: "!", unscored: "–", answered: "" };

const root = document.documentElement;
const remembered = location.hash.match(/theme=(light|dark)/);
const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = (name) => { root.dataset.theme = name; };
setTheme(remembered ? remembered[1] : dark.matches ? "dark" : "light");
dark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));

const themeButton = document.getElementById("theme");
themeButton.hidden = false;
themeButton.addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));

// Chart text takes the page's colour, so one drawing serves light, dark and print.
const ink = { labelColor: "currentColor", titleColor: "currentColor" };
const config = {
  background: null,
  font: "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
  view: { stroke: null },
  axis: { ...ink, gridColor: "#8884", domainColor: "#888", tickColor: "#888", labelFontSize: 12, titleFontSize: 12 },
  legend: { ...ink, labelFontSize: 12 },
  header: ink,
  text: { color: "currentColor" },
};
for (const block of document.querySelectorAll("script[data-chart]")) {
  const target = document.getElementById(block.dataset.chart);
  const spec = JSON.parse(block.textContent);
  if (typeof spec.width === "number") spec.width = "container"; // papers keep the drawing's own width
  // `ast` makes Vega interpret its expressions; compiling them needs eval, which this page forbids.
  vegaEmbed(target, spec, { ast: true, actions: false, renderer: "svg", config })
    .catch((error) => { target.textContent = `This chart could not be drawn: ${error}`; });
}

const payload = document.getElementById("explorer-data");
if (payload) explore(JSON.parse(payload.textContent));

function make(tag, attributes = {}, text = null) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

function explore(data) {
  const PAGE = 100;
  const list = document.getElementById("item-list");
  const counter = document.getElementById("item-count");
  const more = document.getElementById("item-more");
  const control = (name) => document.getElementById(`filter-${name}`);
  const names = ["text", "condition", "outcome", "disagree", "field", "sort"];
  for (const condition of data.conditions) control("condition").append(make("option", { value: condition }, condition));
  for (const [key, values] of facets(data)) {
    for (const value of values) control("field").append(make("option", { value: JSON.stringify([key, value]) }, `${key}: ${value}`));
  }
  document.getElementById("explorer").hidden = false;
  let shown = PAGE, found = data.items;

  const verdicts = (item, condition) => item.cells.filter((cell) => !condition || cell.condition === condition);
  const matches = (item) => {
    const cells = verdicts(item, control("condition").value);
    const outcome = control("outcome").value;
    if (outcome && !cells.some((cell) => cell.outcome === outcome)) return false;
    if (control("disagree").checked && !(item.discordance > 0)) return false;
    if (control("field").value) {
      const [key, value] = JSON.parse(control("field").value);
      if (String(item.metadata[key]) !== value) return false;
    }
    const text = control("text").value.trim().toLowerCase();
    return !text || searchable(item).includes(text);
  };
  const order = {
    schedule: () => 0,
    discordance: (a, b) => b.discordance - a.discordance,
    hardest: (a, b) => a.right - b.right,
  };

  function update() {
    const compare = order[control("sort").value];
    found = data.items.filter(matches);
    found = found.map((item, i) => [item, i]).sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]).map(([item]) => item);
    shown = PAGE;
    draw();
  }
  function draw() {
    list.replaceChildren(...found.slice(0, shown).map(row));
    counter.textContent = `${found.length} of ${data.total} items` + (data.left_out ? `; ${data.left_out} items are not in this page, see the results file` : "");
    more.hidden = found.length <= shown;
  }
  more.addEventListener("click", () => { shown += PAGE; draw(); });
  for (const name of names) control(name).addEventListener(name === "text" ? "input" : "change", update);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step) return;
    const rows = [...list.querySelectorAll("button.row")];
    const next = rows[rows.indexOf(document.activeElement) + step];
    if (next) { next.focus(); event.preventDefault(); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing) { control("text").focus(); event.preventDefault(); }
    if (event.key === "t" && !typing && !event.ctrlKey && !event.metaKey) themeButton.click();
  });
  update();
}

function facets(data) {
  return data.fields.map((key) => [key, [...new Set(data.items.map((item) => item.metadata[key]).filter((v) => v !== undefined && v !== null).map(String))].sort()])
    .filter(([, values]) => values.length > 1 && values.length <= 60);
}

function searchable(item) {
  item.haystack ??= [item.id, item.input, item.expected, ...item.cells.flatMap((cell) => [cell.output, cell.answer])]
    .filter((text) => text !== null && text !== undefined).join("\n").toLowerCase();
  return item.haystack;
}

function row(item) {
  const entry = make("li");
  const button = make("button", { class: "row", type: "button", "aria-expanded": "false" });
  const marks = make("span", { class: "marks" });
  for (const cell of item.cells.slice(0, 12)) {
    marks.append(make("span", { class: `mark ${cell.outcome}`, title: `${cell.condition}: ${cell.outcome}` }, `${cell.condition} ${SIGNS[cell.outcome]}`));
  }
  button.append(make("span", { class: "id" }, item.id), make("span", { class: "question" }, item.input.slice(0, 200)), marks);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) entry.lastChild.remove(); else entry.append(detail(item));
  });
  entry.append(button);
  return entry;
}

function detail(item) {
  const box = make("div", { class: "detail" });
  box.append(make("h3", {}, "Item"), make("pre", {}, item.input), make("p", { class: "facts" }, `Expected: ${item.expected ?? "not given"}`));
  const answers = make("div", { class: "answers" });
  for (const cell of item.cells) {
    const part = make("section");
    part.append(make("h3", {}, `${cell.condition}${cell.repeat ? `, repeat ${cell.repeat + 1}` : ""} — ${cell.outcome}`));
    part.append(make("pre", {}, cell.output ?? cell.error ?? "no answer"));
    const facts = [["read as", cell.answer], ["votes", cell.votes], ["calls", cell.calls], ["latency", cell.latency], ["cost", cell.cost], ["error", cell.output === null ? null : cell.error]];
    part.append(make("p", { class: "facts" }, facts.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => `${name}: ${value}`).join(" · ")));
    answers.append(part);
  }
  box.append(answers);
  if (item.trace) box.append(make("a", { href: item.trace }, "Decisions on this item, in the trace"));
  if (item.prompt) box.append(make("h3", {}, "Prompt as sent"), make("pre", {}, item.prompt));
  return box;
}

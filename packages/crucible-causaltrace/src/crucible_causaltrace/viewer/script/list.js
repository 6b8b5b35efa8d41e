// The list, of which only the rows in sight exist.

const pool = [];
function makeRow() {
  const row = { at: -1, node: el("div", "row"), number: el("div", "at"), body: el("div", "body") };
  row.node.setAttribute("role", "option");
  row.node.append(row.number, row.body);
  row.node.addEventListener("click", () => { select(shown[row.at], true); if (narrow()) read(); });
  pool.push(row);
  return row;
}
function fill(row, at) {
  const i = shown[at];
  row.at = at;
  row.node.id = `row-${i}`;
  row.node.style.transform = `translateY(${at * ROW}px)`;
  row.node.setAttribute("aria-setsize", shown.length);
  row.node.setAttribute("aria-posinset", at + 1);
  row.number.textContent = D.order[i] + 1;
  const [text, derived] = say(i);
  const end = el("span", "end");
  const c = get("confidence", i), took = get("duration_s", i), outcome = get("outcome", i);
  if (issuesOf.has(i)) end.append(el("span", "flag", `${issuesOf.get(i).length} !`));
  if (outcome && outcome !== "ok") end.append(el("span", BAD.has(outcome) ? "flag" : "", outcome));
  if (c !== null) {
    const bar = el("i");
    bar.style.width = `${c * 100}%`;
    const meter = el("span", "meter", bar);
    meter.setAttribute("aria-hidden", "true");
    end.append(el("span", "", meter, ` ${c.toFixed(2)}`));
  }
  if (took !== null) end.append(span(took));
  const level = F.nesting ? Math.min(depth[i], 6) : 0, indent = level * 14;
  const head = el("div", "head", glyph(i), el("span", "type", called(i)), sourceBadge(D.source[i]), end);
  const line = el("div", derived ? "say derived" : "say", text.length > 300 ? text.slice(0, 300) : text);
  line.dir = "auto";
  row.body.replaceChildren(head, line);
  row.body.style.marginLeft = `${indent}px`;
  for (let g = 0; g < level; g++) {
    const guide = el("span", "guide");
    guide.style.left = `${(g - level) * 14 + 9}px`;
    row.body.append(guide);
  }
  row.node.setAttribute("aria-selected", String(i === selected));
  if (!row.node.isConnected) $("pad").append(row.node);
}
function draw() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - OVERSCAN);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + OVERSCAN);
  const free = pool.filter((row) => row.at < first || row.at >= last);
  const there = new Set(pool.filter((row) => row.at >= first && row.at < last).map((row) => row.at));
  for (let at = first; at < last; at++) {
    if (there.has(at)) continue;
    fill(free.pop() ?? makeRow(), at);
  }
  for (const row of free) { row.at = -1; row.node.remove(); }
  for (const row of pool) if (row.at >= 0) row.node.setAttribute("aria-selected", String(shown[row.at] === selected));
  if (selected >= 0 && rank[selected] >= first && rank[selected] < last) list.setAttribute("aria-activedescendant", `row-${selected}`);
  else list.removeAttribute("aria-activedescendant");
}
function reveal(i) {
  const at = rank[i], list = $("list");
  if (at < 0) return;
  const top = at * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  draw();
}
const narrow = () => matchMedia("(max-width: 820px)").matches;
function read() { document.body.classList.add("reading"); $("detail").focus(); }

function select(i, keepScroll = false) {
  selected = i;
  if (!keepScroll && i >= 0) reveal(i);
  draw();
  drawStrip();
  remember();
  showDetail();
}
function step(by) {
  if (!shown.length) return;
  const at = selected >= 0 && rank[selected] >= 0 ? rank[selected] : by > 0 ? -1 : shown.length;
  select(shown[Math.max(0, Math.min(shown.length - 1, at + by))]);
}

"use strict";
// One page, one chain. Text reaches the page by textContent alone; nothing is ever requested.
(() => {
const SOURCES = ["self_report", "system_observed", "intervention"];
const SOURCE_NAMES = ["self-report", "observed", "intervention"];
const SOURCE_SAYS = [
  "Said by the model. A stated reason is testimony, not proof of why.",
  "Measured by code.",
  "Result of an experiment on the model.",
];
const GLYPHS = {
  task_decomposed: ["#", ""], hypothesis_formed: ["H", ""], pattern_applied: ["P", ""],
  alternative_considered: ["A", ""], constraint_identified: ["!", ""], assumption_made: ["≈", "doubt"],
  decision_made: ["◆", "decide"], spec_referenced: ["§", ""], uncertainty_noted: ["?", "doubt"],
  synthesis: ["Σ", "close"], "system:cell": ["▢", ""], "system:model_call": ["▸", ""],
  "system:retry": ["↻", "trouble"], "system:hedge": ["⇉", ""], "system:attempt": ["›", ""],
  "crucible:faithfulness_probed": ["∆", ""], "system:cascade": ["▤", ""], "system:escalation": ["⤴", ""], "system:tool_call": ["T", ""], "system:guard_decision": ["G", ""], "system:span": ["·", ""],
};
const ROW = 54, OVERSCAN = 8, DEPTH = 3, MOST_NODES = 80, MOST_LINKS = 40, MOST_PAIRS = 200;
const BAD = new Set(["error", "timeout"]);
const $ = (id) => document.getElementById(id);

function el(tag, cls, ...inside) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  for (const part of inside) if (part !== null && part !== undefined) node.append(part);
  return node;
}
function button(cls, text, act) {
  const node = el("button", cls, text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

// --- data

async function unpack() {
  const text = $("data").textContent.trim();
  let bytes;
  if (Uint8Array.fromBase64) bytes = Uint8Array.fromBase64(text);
  else {
    const raw = atob(text);
    bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  }
  $("data").remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

let D = null; // the columns
let depth, home, guests, children, dependents, placeOf, issuesOf, haystacks, wholes, t0 = Infinity, t1 = -Infinity;

function get(name, i) {
  const column = D[name];
  if (!column) return null;
  if (Array.isArray(column)) return column[i] ?? null;
  const code = column.codes[i];
  return code < 0 ? null : column.values[code];
}

function index() {
  const n = D.n;
  placeOf = new Map();
  children = new Map();
  dependents = new Map();
  guests = new Map();
  depth = new Uint8Array(n);
  issuesOf = new Map();
  haystacks = new Array(n);
  wholes = new Array(n);
  const push = (map, key, value) => { const list = map.get(key); if (list) list.push(value); else map.set(key, [value]); };
  for (let i = 0; i < n; i++) {
    placeOf.set(D.id[i], i);
    const up = D.parent[i];
    if (up >= 0) push(children, up, i);
    for (const on of get("depends_on", i) ?? []) push(dependents, on, i);
    const at = get("time_s", i);
    if (at !== null) { t0 = Math.min(t0, at); t1 = Math.max(t1, at + (get("duration_s", i) ?? 0)); }
  }
  // Where an event is shown: under its parent; without one, beside what it depends on.
  home = new Int32Array(n).fill(-2);
  for (let i = 0; i < n; i++) {
    const way = [];
    let at = i;
    while (at >= 0 && home[at] === -2 && D.parent[at] < 0) { way.push(at); at = get("depends_on", at)?.[0] ?? -1; }
    const found = at < 0 ? -1 : home[at] === -2 ? D.parent[at] : home[at];
    if (at >= 0) home[at] = found;
    for (const one of way) home[one] = found;
  }
  for (let i = 0; i < n; i++) {
    let d = 0;
    for (let up = home[i]; up >= 0 && d < 12; up = home[up]) d++;
    depth[i] = d;
    if (home[i] >= 0) push(guests, home[i], i);
  }
  for (const issue of D.issues) if (issue.event_id !== null && placeOf.has(issue.event_id)) push(issuesOf, placeOf.get(issue.event_id), issue);
}

const words = (type) => type.replace(/^system:/, "").replaceAll("_", " ");
// A span that no rule knows is called by its own name.
const called = (i) => typeOf(i) === "system:span" && meta(i).span ? String(meta(i).span).replace(/^crucible\./, "") : words(typeOf(i));
const typeOf = (i) => get("type", i);
const meta = (i) => get("metadata_of", i) ?? {};

// What a row shows: what was decided, else what else is known.
function say(i) {
  const decision = get("decision", i);
  if (decision) return [decision, false];
  const m = meta(i);
  if (typeOf(i) === "system:cell") return [[m.condition, m.item_id, m.repeat != null ? `repeat ${m.repeat}` : null, m.status, m.from_journal ? "from the journal" : null].filter((x) => x != null && x !== "").join(" · ") || "cell", true];
  if (typeOf(i) === "decision_made" && D.source[i] === 1) return [["answer not recorded", m.options != null ? `${m.options} answers` : null, m.strategy].filter((x) => x != null).join(" · "), true];
  const tokens = m.input_tokens != null || m.output_tokens != null ? `${m.input_tokens ?? "?"} → ${m.output_tokens ?? "?"} tokens` : null;
  if (m.model || tokens) return [[m.model, tokens, m.cost_usd != null ? money(m.cost_usd) : null, m.error_type].filter((x) => x != null).join(" · "), true];
  const reasoning = get("reasoning", i);
  if (reasoning) return [reasoning, true];
  if (m.span) {
    const a = m.attributes ?? {};
    const e = (name) => a[`crucible.ensemble.${name}`];
    const known = [e("sample") != null ? `sample ${e("sample")}` : null, e("member"), e("strategy"), e("asked") != null ? `${e("asked")} asked` : null].filter((x) => x != null);
    return [known.length ? known.join(" · ") : String(m.span), true];
  }
  return [get("alternatives", i)?.join(", ") || get("spec_reference", i) || get("code", i)?.trim() || "nothing stated", true];
}

const money = (v) => `$${v >= 0.01 || v === 0 ? v.toFixed(2) : v.toPrecision(2)}`;
const short = (v) => String(Math.round(v * 1000) / 1000);
function span(seconds) {
  if (seconds === 0) return "0 s";
  if (seconds < 1e-3) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 100) return `${seconds.toPrecision(3)} s`;
  const whole = Math.round(seconds);
  return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
function glyph(i, plain = false) {
  const [mark, cls] = GLYPHS[typeOf(i)] ?? (typeOf(i).startsWith("training:") ? ["τ", ""] : ["•", ""]);
  const node = el("span", `glyph ${!plain && BAD.has(get("outcome", i)) ? "trouble" : cls}`, mark);
  node.setAttribute("aria-hidden", "true");
  return node;
}
const sourceBadge = (s) => el("span", `src s${s}`, SOURCE_NAMES[s]);

// --- filters

const F = { text: "", everywhere: false, sources: new Set([0, 1, 2]), types: null, low: null, high: null, unstated: true, stage: "", flawed: false, from: null, to: null, nesting: true };
let nested = null, shown = new Int32Array(0), rank = null, selected = -1;

// Each event right after its parent, in order otherwise.
function nest() {
  const out = [], stack = [];
  for (let i = D.n - 1; i >= 0; i--) if (home[i] < 0) stack.push(i);
  while (stack.length) {
    const i = stack.pop();
    out.push(i);
    const under = guests.get(i) ?? [];
    for (let k = under.length - 1; k >= 0; k--) stack.push(under[k]);
  }
  return Int32Array.from(out);
}
function narrowed() {
  return F.text !== "" || F.sources.size < 3 || F.types !== null || F.low !== null || F.high !== null || !F.unstated || F.stage !== "" || F.flawed || ranged();
}
function haystack(i) {
  if (F.everywhere) return wholes[i] ??= JSON.stringify(raw(i)).toLowerCase();
  return haystacks[i] ??= [get("decision", i), get("reasoning", i), ...(get("alternatives", i) ?? [])].filter((x) => x).join("\u0000").toLowerCase();
}
function refilter() {
  const text = F.text.toLowerCase(), found = [];
  nested ??= nest();
  const stated = F.low !== null || F.high !== null, within = ranged();
  for (let at = 0; at < D.n; at++) {
    const i = F.nesting ? nested[at] : at;
    if (!F.sources.has(D.source[i])) continue;
    if (F.types !== null && !F.types.has(D.type.codes[i])) continue;
    const c = get("confidence", i);
    if (c === null ? !F.unstated : stated && ((F.low !== null && c < F.low) || (F.high !== null && c > F.high))) continue;
    if (F.stage !== "" && get("stage", i) !== F.stage) continue;
    if (F.flawed && !issuesOf.has(i)) continue;
    if (within && !inRange(i)) continue;
    if (text && !haystack(i).includes(text)) continue;
    found.push(i);
  }
  shown = Int32Array.from(found);
  rank = new Int32Array(D.n).fill(-1);
  for (let r = 0; r < shown.length; r++) rank[shown[r]] = r;
  const all = D.n === 1 ? "1 event" : `${D.n.toLocaleString("en")} events`;
  $("count").textContent = narrowed() ? `${shown.length.toLocaleString("en")} of ${all}` : all;
  $("clear").hidden = !narrowed();
  $("empty").hidden = shown.length > 0;
  $("list").hidden = shown.length === 0;
  $("empty-text").textContent = D.n === 0 ? "This chain has no events." : "No event fits the filters.";
  $("empty-all").hidden = !(F.text && !F.everywhere);
  $("empty-clear").hidden = D.n === 0;
  $("types-menu").classList.toggle("on", F.types !== null);
  $("types-label").textContent = F.types === null ? "Types" : `Types: ${F.types.size}`;
  $("confidence-menu").classList.toggle("on", stated || !F.unstated);
  $("stage-pick").classList.toggle("on", F.stage !== "");
  $("pad").style.height = `${shown.length * ROW}px`;
  for (const row of pool) row.at = -1;
  draw();
  showAxis();
  remember();
}
function clearFilters() {
  Object.assign(F, { text: "", everywhere: false, sources: new Set([0, 1, 2]), types: null, low: null, high: null, unstated: true, stage: "", flawed: false, from: null, to: null });
  showFilters();
  refilter();
  if (selected >= 0) reveal(selected);
}
function showFilters() {
  $("q").value = F.text;
  $("everywhere").checked = F.everywhere;
  $("low").value = F.low ?? "";
  $("high").value = F.high ?? "";
  $("unstated").checked = F.unstated;
  $("stage").value = F.stage;
  $("flawed").checked = F.flawed;
  $("nesting").value = F.nesting ? "1" : "";
  $("from").value = F.from === null ? "" : shownAt(F.from);
  $("to").value = F.to === null ? "" : shownAt(F.to);
  for (const b of $("sources").children) b.setAttribute("aria-pressed", String(F.sources.has(Number(b.dataset.source))));
  for (const box of $("types").querySelectorAll("input")) box.checked = F.types === null || F.types.has(Number(box.value));
}

// The filters live in the address, so that a view can be kept and sent.
function remember() {
  const p = new URLSearchParams();
  if (selected >= 0) p.set("e", D.id[selected]);
  if (F.text) p.set("q", F.text);
  if (F.everywhere) p.set("all", "1");
  if (F.sources.size < 3) p.set("s", [...F.sources].join(""));
  if (F.types !== null) for (const name of F.types.size ? [...F.types].map((c) => D.type.values[c]) : [""]) p.append("t", name);
  if (F.low !== null) p.set("lo", F.low);
  if (F.high !== null) p.set("hi", F.high);
  if (!F.unstated) p.set("un", "0");
  if (F.stage) p.set("g", F.stage);
  if (F.flawed) p.set("f", "1");
  if (F.from !== null) p.set("from", F.from);
  if (F.to !== null) p.set("to", F.to);
  if (!F.nesting) p.set("o", "0");
  const hash = p.toString();
  if (hash !== location.hash.slice(1)) try { history.replaceState(null, "", `#${hash}`); } catch { /* some viewers keep no address */ }
}
function recall() {
  const p = new URLSearchParams(location.hash.slice(1));
  const number = (name) => { const v = parseFloat(p.get(name)); return Number.isFinite(v) ? v : null; };
  F.text = p.get("q") ?? "";
  F.everywhere = p.get("all") === "1";
  F.sources = new Set(p.has("s") ? [...p.get("s")].map(Number) : [0, 1, 2]);
  F.types = p.has("t") ? new Set(p.getAll("t").map((t) => D.type?.values.indexOf(t) ?? -1).filter((c) => c >= 0)) : null;
  F.low = number("lo");
  F.high = number("hi");
  F.unstated = p.get("un") !== "0";
  F.stage = p.get("g") ?? "";
  F.flawed = p.get("f") === "1";
  F.from = number("from");
  F.to = number("to");
  F.nesting = p.get("o") !== "0";
  return p.has("e") ? placeOf.get(p.get("e")) ?? -1 : -1;
}

// --- timeline: where the events lie in time, or in order where no time is known

let axis = null; // { timed, low, high }
const probe = el("span"); // its colour is what a variable of the style says
document.body.append(probe);
const ranged = () => F.from !== null || F.to !== null;
const place = (i) => (axis.timed ? get("time_s", i) : D.order[i] + 1);
const shownAt = (v) => (axis?.timed ? Number((v - axis.low).toPrecision(9)) : v);
const axisName = (v) => (axis.timed ? `+${span(Math.max(0, v - axis.low))}` : `event ${Math.round(v)}`);
function inRange(i) {
  const v = place(i);
  return v !== null && (F.from === null || v >= F.from) && (F.to === null || v <= F.to);
}
function setRange(from, to) { F.from = from; F.to = to; showFilters(); refilter(); }
// Events per bin of equal width: all, those shown, and of these each source.
function density(bins) {
  const all = new Float64Array(bins), some = SOURCES.map(() => new Float64Array(bins));
  const wide = (axis.high - axis.low) / bins;
  const bin = (i) => { const v = place(i); return v === null ? -1 : Math.min(bins - 1, Math.floor((v - axis.low) / wide)); };
  for (let i = 0; i < D.n; i++) { const b = bin(i); if (b >= 0) all[b]++; }
  for (const i of shown) { const b = bin(i); if (b >= 0) some[D.source[i]][b]++; }
  return { all, some, wide };
}
function makeAxis() {
  const timed = t1 > t0, orders = D.order;
  axis = timed ? { timed, low: t0, high: t1 } : { timed, low: 1, high: orders.reduce((a, b) => Math.max(a, b), 0) + 1 };
  if (!(axis.high > axis.low)) return;
  const words = timed ? ["Time", "Seconds from the first event", "Events by their start"] : ["Place", "Place in the chain's order", "Events by their place"];
  $("from-label").textContent = words[1];
  $("density-caption").textContent = words[2];
  $("density-unit").textContent = timed ? "from the first event" : "place";
  $("span-menu").hidden = $("timeline").hidden = false;
  for (const [name, id] of [["from", "from"], ["to", "to"]]) $(id).addEventListener("input", () => {
    const v = $(id).valueAsNumber;
    F[name] = Number.isFinite(v) ? (timed ? axis.low + v : v) : null;
    refilter();
  });
  $("span-menu").addEventListener("toggle", () => { if ($("span-menu").open) fillTable(); });
  const canvas = $("strip");
  let began = null;
  const at = (e) => { const box = canvas.getBoundingClientRect(); return axis.low + Math.max(0, Math.min(1, (e.clientX - box.left) / box.width)) * (axis.high - axis.low); };
  const drag = (e) => { const a = at(e), low = Math.min(a, began.v), high = Math.max(a, began.v); return timed ? [low, high] : [Math.ceil(low - 0.5), Math.floor(high + 0.5)]; };
  canvas.addEventListener("pointerdown", (e) => { began = { v: at(e), x: e.clientX }; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointermove", (e) => { if (began && Math.abs(e.clientX - began.x) > 3) { [F.from, F.to] = drag(e); drawStrip(); } });
  canvas.addEventListener("pointerup", (e) => {
    if (!began) return;
    if (Math.abs(e.clientX - began.x) > 3) setRange(...drag(e)); else setRange(null, null);
    began = null;
  });
  canvas.addEventListener("pointercancel", () => { began = null; });
  new ResizeObserver(drawStrip).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawStrip);
}
function showAxis() {
  if (!axis || $("timeline").hidden) return;
  $("span-menu").classList.toggle("on", ranged());
  $("span-label").textContent = axis.timed ? "Time" : "Place";
  if ($("span-menu").open) fillTable();
  drawStrip();
}
function drawStrip() {
  const canvas = $("strip"), box = canvas.getBoundingClientRect(), scale = devicePixelRatio || 1;
  if (!axis || box.width === 0) return;
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  const ctx = canvas.getContext("2d"), css = getComputedStyle(canvas), colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const bins = Math.max(10, Math.floor(box.width / 5)), { all, some } = density(bins), most = Math.max(1, ...all);
  const W = canvas.width, H = canvas.height, w = W / bins, tall = (n) => (n > 0 ? Math.max(1.5 * scale, (Math.sqrt(n / most)) * (H - 2 * scale)) : 0);
  const inks = ["said", "seen", "done"].map(colour), line = colour("line"), accent = colour("accent");
  const x = (v) => ((v - axis.low) / (axis.high - axis.low)) * W;
  for (let b = 0; b < bins; b++) {
    ctx.fillStyle = line;
    ctx.fillRect(b * w, H - tall(all[b]), Math.max(1, w - scale), tall(all[b]));
    const sum = some[0][b] + some[1][b] + some[2][b], height = tall(sum);
    let y = H;
    for (let s = 0; s < 3; s++) if (some[s][b]) {
      const part = (height * some[s][b]) / sum;
      ctx.fillStyle = inks[s];
      ctx.fillRect(b * w, y - part, Math.max(1, w - scale), part);
      y -= part;
    }
  }
  if (ranged()) {
    const left = x(F.from ?? axis.low), right = x(F.to ?? axis.high);
    ctx.globalAlpha = 0.16;
    ctx.fillStyle = accent;
    ctx.fillRect(left, 0, Math.max(scale, right - left), H);
    ctx.globalAlpha = 1;
    for (const edge of [left, right]) ctx.fillRect(Math.min(W - 2 * scale, Math.max(0, edge - scale)), 0, 2 * scale, H);
  }
  const v = selected >= 0 ? place(selected) : null;
  if (v !== null) { ctx.fillStyle = css.color; ctx.fillRect(Math.min(W - 2 * scale, x(v)), 0, 2 * scale, H); }
  $("strip-low").textContent = axis.timed ? new Date(axis.low * 1000).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC") : "event 1";
  $("strip-high").textContent = axisName(axis.high);
  $("strip-range").textContent = ranged() ? `${axisName(F.from ?? axis.low)} to ${axisName(F.to ?? axis.high)}` : "";
  canvas.setAttribute("aria-label", `${axis.timed ? "Events over time" : "Events in order"}: ${shown.length.toLocaleString("en")} of ${D.n.toLocaleString("en")} shown. The ${$("span-label").textContent} menu has the numbers.`);
}
function fillTable() {
  const bins = axis.timed ? 12 : Math.min(12, axis.high), { all, some, wide } = density(bins), body = $("density").tBodies[0];
  body.replaceChildren(...Array.from(all, (n, b) => {
    let from = axis.low + b * wide, to = b === bins - 1 ? axis.high : axis.low + (b + 1) * wide;
    // Places are whole: those that fall into the bin.
    if (!axis.timed) { from = Math.ceil(from); to = b === bins - 1 ? axis.high : Math.ceil(to) - 1; }
    const name = axis.timed ? `${axisName(from)} to ${axisName(to)}` : `${from} to ${to}`, th = el("th", "", button("", name, () => setRange(from, to)));
    th.scope = "row";
    const part = some[0][b] + some[1][b] + some[2][b];
    return el("tr", "", th, el("td", "", n.toLocaleString("en")), el("td", "", part.toLocaleString("en")));
  }));
}

// --- list: only the rows in sight exist

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

// --- detail

function heading(text) { return el("h3", "", text); }
function tile(name, value) { return el("div", "tile", el("span", "", name), el("b", "", value)); }
function linkTo(i) {
  const [text] = say(i);
  const b = button("linklike", `${D.order[i] + 1}. ${called(i)}: ${text.length > 90 ? text.slice(0, 90) + "…" : text}`, () => { select(i); $("detail").focus(); });
  b.dir = "auto";
  return b;
}
function bars(entries, most, act) {
  const box = el("div", "bars");
  for (const { name, n, cls, shownAs, key, mark } of entries) {
    const fillBar = el("i", cls ?? "");
    fillBar.style.width = `${most > 0 ? (100 * n) / most : 0}%`;
    const track = el("span", "track", fillBar);
    const label = el("span", "name", mark ?? "", name);
    label.dir = "auto";
    label.title = name;
    const parts = [label, track, el("span", "n", shownAs ?? n.toLocaleString("en"))];
    const bar = act ? button(`bar ${cls ?? ""}`, "", () => act(key)) : el("div", `bar ${cls ?? ""}`);
    bar.append(...parts);
    box.append(bar);
  }
  return box;
}
function codeBlock(code, tokens) {
  const inside = el("code");
  if (!tokens) inside.textContent = code;
  else {
    let at = 0;
    for (let t = 0; t < tokens.length; t += 2) {
      const text = code.slice(at, at + tokens[t + 1]);
      inside.append(tokens[t] ? el("span", `k${tokens[t]}`, text) : text);
      at += tokens[t + 1];
    }
  }
  const block = el("pre", "", inside);
  block.tabIndex = 0;
  return block;
}
function flatten(value, name, out) {
  if (value !== null && typeof value === "object" && Object.keys(value).length && !Array.isArray(value)) for (const key of Object.keys(value)) flatten(value[key], name ? `${name} › ${key}` : key, out);
  else if (name) out.push([name, typeof value === "string" ? value : JSON.stringify(value)]);
  return out;
}
function pairs(data, skip = []) {
  const rows = flatten(Object.fromEntries(Object.entries(data).filter(([key]) => !skip.includes(key))), "", []);
  const table = el("table", "pairs"), body = el("tbody");
  for (const [name, value] of rows.slice(0, MOST_PAIRS)) {
    const th = el("th", "mono", name);
    th.scope = "row";
    body.append(el("tr", "", th, el("td", "", value)));
  }
  if (rows.length > MOST_PAIRS) body.append(el("tr", "", el("td", "soft", `and ${rows.length - MOST_PAIRS} more, in the JSON below`)));
  table.append(body);
  return rows.length ? table : null;
}
function raw(i) {
  const ids = (list) => (list ?? []).map((n) => D.id[n]);
  return {
    id: D.id[i], type: typeOf(i), source: SOURCES[D.source[i]], decision: get("decision", i), reasoning: get("reasoning", i),
    alternatives: get("alternatives", i) ?? [], disposition: get("disposition", i), confidence: get("confidence", i), code: get("code", i),
    code_language: get("code_language", i), spec_reference: get("spec_reference", i), parent: D.parent[i] < 0 ? null : D.id[D.parent[i]],
    depends_on: ids(get("depends_on", i)), contradicts: ids(get("contradicts", i)), order: D.order[i], time_s: get("time_s", i),
    duration_s: get("duration_s", i), outcome: get("outcome", i), stage: get("stage", i), experiment_id: get("experiment_id", i),
    span: get("span", i), truncated: D.truncatedSet.has(i), metadata: meta(i),
  };
}
function problemList(issues, withEvent) {
  const list = el("ul", "problems");
  for (const issue of issues) {
    const item = el("li", issue.severity, el("b", "", issue.code), ` line ${issue.line}, column ${issue.column}: ${issue.message}`);
    if (withEvent && issue.event_id !== null && placeOf.has(issue.event_id)) item.append(" ", button("linklike", "show event", () => { $("issues").close(); select(placeOf.get(issue.event_id)); if (narrow()) read(); }));
    list.append(item);
  }
  return list;
}

function showDetail() {
  const parts = selected < 0 ? overview() : event(selected);
  const back = button("back", "← Back to the list", leave);
  $("detail").replaceChildren(back, ...parts.filter((p) => p));
  $("detail").scrollTop = 0;
  $("detail").setAttribute("aria-label", selected < 0 ? "Overview" : "Selected event");
}
function event(i) {
  const out = [], m = meta(i), source = D.source[i];
  if (rank[i] < 0) out.push(el("p", "notice", "This event is hidden by the filters. ", button("linklike", "Clear filters", clearFilters)));
  const ups = [];
  for (let up = D.parent[i]; up >= 0 && ups.length < 6; up = D.parent[up]) ups.unshift(up);
  if (ups.length) {
    const nav = el("nav", "crumbs");
    nav.setAttribute("aria-label", "Parents");
    for (const up of ups) nav.append(button("", called(up), () => select(up)), "›");
    nav.append(el("span", "", called(i)));
    out.push(nav);
  }
  const badges = el("div", "badges", glyph(i), el("span", "type", typeOf(i)), sourceBadge(source));
  const disposition = get("disposition", i), outcome = get("outcome", i);
  if (disposition) badges.append(el("span", "", disposition));
  if (outcome) badges.append(el("span", BAD.has(outcome) ? "flag" : outcome === "ok" ? "ok" : "", outcome));
  if (D.truncatedSet.has(i)) badges.append(el("span", "flag", "cut off: the text ends here"));
  out.push(badges);
  const [text, derived] = say(i);
  const title = el("h2", derived ? "say derived" : "say", text);
  title.dir = "auto";
  out.push(title, el("p", "detail-source", SOURCE_SAYS[source]));

  const tiles = el("div", "tiles"), c = get("confidence", i), at = get("time_s", i), took = get("duration_s", i);
  if (source === 0 || c !== null) tiles.append(tile("Stated confidence", c === null ? "not stated" : short(c)));
  if (took !== null) tiles.append(tile("Duration", span(took)));
  if (at !== null) tiles.append(tile("Start", `+${span(at - t0)}`), tile("Time (UTC)", new Date(at * 1000).toISOString().replace("T", " ").replace("Z", "")));
  if (m.model) tiles.append(tile("Model", String(m.model)));
  if (m.input_tokens != null || m.output_tokens != null) tiles.append(tile("Tokens in → out", `${m.input_tokens ?? "?"} → ${m.output_tokens ?? "?"}`));
  if (typeOf(i) === "system:model_call" || typeOf(i) === "system:retry") tiles.append(tile("Cost", m.cost_usd == null ? "unknown" : money(m.cost_usd)));
  const stage = get("stage", i);
  if (stage) tiles.append(tile("Stage", stage));
  if (tiles.children.length) out.push(tiles);

  const reasoning = get("reasoning", i), alternatives = get("alternatives", i);
  if (reasoning && !(derived && text === reasoning)) {
    const quote = el("div", `quote s${source}`, reasoning);
    quote.dir = "auto";
    out.push(heading(source === 0 ? "Stated reason" : "Reason"), quote);
  }
  const counts = m.counts && typeof m.counts === "object" ? Object.entries(m.counts).filter(([, n]) => typeof n === "number") : [];
  if (counts.length) {
    const most = Math.max(...counts.map(([, n]) => n)), decision = get("decision", i);
    const entries = counts.sort((a, b) => b[1] - a[1]).map(([name, n]) => ({ name, n, cls: name === decision ? "win" : "", shownAs: short(n) }));
    out.push(heading("Votes"), bars(entries, most));
    const facts = [m.strategy && `Strategy: ${m.strategy}`, m.consensus != null && `consensus ${short(m.consensus)}`, m.support != null && `support ${short(m.support)}`, m.tied === true && "tied"].filter((x) => x);
    out.push(el("p", "soft", `${facts.join(", ")}${facts.length ? ". " : ""}Agreement is not a probability of being right.`));
  } else if (alternatives) {
    const list = el("ul", "options");
    for (const option of alternatives) { const li = el("li", "", option); li.dir = "auto"; list.append(li); }
    out.push(heading("Alternatives"), list);
  }
  const code = get("code", i);
  if (code !== null) out.push(heading(`Code${get("code_language", i) ? `, ${get("code_language", i)}` : ""}`), codeBlock(code, get("tokens", i)));
  const spec = get("spec_reference", i);
  if (spec) out.push(heading("Specification"), el("p", "", spec));
  out.push(...links(i));
  if (issuesOf.has(i)) out.push(heading("Issues"), problemList(issuesOf.get(i), false));
  const table = pairs(m, ["counts"]);
  if (table) out.push(heading("Metadata"), table);
  const where = get("span", i);
  const more = el("details", "more", el("summary", "", "As JSON"));
  more.addEventListener("toggle", () => {
    if (!more.open || more.querySelector("pre")) return;
    const pre = el("pre", "wrap", JSON.stringify(raw(i), null, 1));
    pre.tabIndex = 0;
    more.append(pre);
  });
  out.push(more, el("p", "soft", `Id ${D.id[i]}${where ? `, characters ${where[0]} to ${where[1]} of the source` : ""}`));
  return out;
}
function links(i) {
  const up = D.parent[i] >= 0 ? [D.parent[i]] : [];
  const against = [];
  for (const [a, b] of contradictions) if (b === i) against.push(a);
  const groups = [["parent", up], ["depends on", get("depends_on", i) ?? []], ["contradicts", get("contradicts", i) ?? []],
    ["contradicted by", against], ["children", children.get(i) ?? []], ["dependents", dependents.get(i) ?? []]];
  const box = el("div", "links");
  for (const [name, list] of groups) {
    if (!list.length) continue;
    const items = el("div");
    for (const other of list.slice(0, MOST_LINKS)) items.append(el("div", "", linkTo(other)));
    if (list.length > MOST_LINKS) items.append(el("span", "soft", `and ${list.length - MOST_LINKS} more`));
    box.append(el("div", "", el("span", "rel", name), items));
  }
  if (!box.children.length) return [];
  const { holder, cut } = graph(i);
  const key = "Solid: parent. Dashed: depends on. Dotted: contradicts. A dashed box is a self-report." + (cut ? ` ${cut} more events are not drawn.` : "");
  return [heading("Where it stands"), holder, el("p", "graph-key", key), heading("Links"), box];
}
let contradictions = [];

function overview() {
  const out = [el("h2", "say", "Overview")];
  const types = new Map();
  let stated = [];
  for (let i = 0; i < D.n; i++) {
    types.set(D.type.codes[i], (types.get(D.type.codes[i]) ?? 0) + 1);
    const c = get("confidence", i);
    if (c !== null) stated.push(c);
  }
  const tiles = el("div", "tiles", tile("Events", D.n.toLocaleString("en")));
  if (t1 > t0) tiles.append(tile("From first to last", span(t1 - t0)));
  if (stated.length) tiles.append(tile("Mean stated confidence", `${short(stated.reduce((a, b) => a + b, 0) / stated.length)} (${stated.length} stated)`));
  if (D.parsed) tiles.append(tile("Issues of the text", String(D.issues.length)));
  out.push(tiles);
  if (D.n) {
    const entries = [...types].sort((a, b) => b[1] - a[1]).map(([code, n]) => ({ name: D.type.values[code], n, key: code, mark: glyph(D.type.codes.indexOf(code), true) }));
    out.push(heading("Types"), bars(entries, entries[0].n, (code) => { F.types = new Set([code]); showFilters(); refilter(); leave(); }));
  }
  if (D.outcome) {
    const n = D.outcome.values.map(() => 0);
    for (const code of D.outcome.codes) if (code >= 0) n[code]++;
    const entries = n.map((count, code) => ({ name: D.outcome.values[code], n: count, cls: BAD.has(D.outcome.values[code]) ? "bad" : "" })).sort((a, b) => b.n - a.n);
    out.push(heading("Outcomes"), bars(entries, entries[0].n));
  }
  if (stated.length) {
    const edges = [[0.9, "0.9 to 1"], [0.7, "0.7 to 0.9"], [0.5, "0.5 to 0.7"], [0.3, "0.3 to 0.5"], [0, "below 0.3"]];
    const bands = edges.map(([low, name]) => ({ name, low, n: 0, cls: "said" }));
    for (const c of stated) bands.find((b) => c >= b.low).n++;
    bands.push({ name: "not stated", n: D.n - stated.length });
    out.push(heading("Stated confidence"), bars(bands, Math.max(...bands.map((b) => b.n))));
  }
  if (D.seal) out.push(heading("Seal"), pairs({ state: D.seal.says, algorithm: D.seal.algorithm, head: D.seal.head }));
  const table = pairs(D.metadata);
  if (table) out.push(heading("Metadata"), table);
  if (D.text.trim()) {
    const pre = el("pre", "wrap", D.text.trim());
    pre.tabIndex = 0;
    pre.dir = "auto";
    out.push(heading("Text outside events"), pre);
  }
  for (const block of D.blocks) out.push(heading(`Code${block.language ? `, ${block.language}` : ""}`), codeBlock(block.code, null));
  return out;
}

// --- graph of the selected event: what it rests on to the left, what rests on it to the right

function graph(i) {
  const near = new Map([[i, 0]]);
  let cut = 0;
  const walk = (next) => {
    let level = [i];
    for (let d = 0; d < DEPTH; d++) {
      const found = [];
      for (const at of level) for (const other of next(at)) {
        if (near.has(other)) continue;
        if (near.size >= MOST_NODES) { cut++; continue; }
        near.set(other, 0);
        found.push(other);
      }
      level = found;
    }
  };
  const before = (at) => [...(D.parent[at] >= 0 ? [D.parent[at]] : []), ...(get("depends_on", at) ?? [])];
  walk(before);
  walk((at) => [...(children.get(at) ?? []), ...(dependents.get(at) ?? [])]);
  const nodes = [...near.keys()], edges = [];
  for (const b of nodes) {
    const on = get("depends_on", b) ?? [];
    if (near.has(D.parent[b])) edges.push([D.parent[b], b, "parent"]);
    for (const a of on) if (near.has(a) && a !== D.parent[b]) edges.push([a, b, "depends_on"]);
  }
  // Layer: the longest way from an event that rests on none of these.
  const layer = new Map();
  const layerOf = (n) => {
    if (layer.has(n)) return layer.get(n);
    layer.set(n, 0);
    let most = 0;
    for (const a of before(n)) if (near.has(a)) most = Math.max(most, layerOf(a) + 1);
    layer.set(n, most);
    return most;
  };
  nodes.forEach(layerOf);
  const columns = [];
  for (const n of nodes) (columns[layer.get(n)] ??= []).push(n);
  const W = 152, H = 38, GX = 40, GY = 12, place = new Map();
  const tallest = Math.max(...columns.map((c) => c.length)) * (H + GY) - GY;
  columns.forEach((column, x) => {
    const middle = (n) => { const ys = before(n).filter((a) => place.has(a)).map((a) => place.get(a)[1]); return ys.length ? ys.reduce((p, q) => p + q, 0) / ys.length : n; };
    if (x) column.sort((p, q) => middle(p) - middle(q) || p - q); else column.sort((p, q) => p - q);
    const top = (tallest - (column.length * (H + GY) - GY)) / 2;
    column.forEach((n, y) => place.set(n, [12 + x * (W + GX), 22 + top + y * (H + GY)]));
  });
  const s = (tag, attributes, ...inside) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    node.append(...inside);
    return node;
  };
  const width = 24 + columns.length * (W + GX) - GX, height = 34 + tallest;
  const svg = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Graph of ${nodes.length} related events` });
  for (const a of nodes) for (const b of get("contradicts", a) ?? []) if (near.has(b)) edges.push([a, b, "contradicts"]);
  for (const [a, b, kind] of edges) {
    const [ax, ay] = place.get(a), [bx, by] = place.get(b), forward = bx > ax;
    const x1 = forward ? ax + W : ax + W / 2, y1 = forward ? ay + H / 2 : ay + H, x2 = forward ? bx : bx + W / 2, y2 = forward ? by + H / 2 : by + H;
    const bend = forward ? (x2 - x1) / 2 : 0;
    // What passes over a layer goes around its boxes, along the upper edge.
    const over = forward && layer.get(b) - layer.get(a) > 1 && columns.slice(layer.get(a) + 1, layer.get(b)).some((c) => c.some((n) => Math.abs(place.get(n)[1] + H / 2 - (y1 + y2) / 2) < H));
    svg.append(s("path", { class: kind, d: over ? `M${x1} ${y1}C${x1 + GX} ${y1} ${x1} 10 ${x1 + GX} 10L${x2 - GX - 5} 10C${x2 - 5} 10 ${x2 - GX - 5} ${y2} ${x2 - 5} ${y2}` : forward ? `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 5} ${y2}` : `M${x1} ${y1}C${x1} ${y1 + 30} ${x2} ${y2 + 30} ${x2} ${y2}` }));
    if (forward) svg.append(s("path", { class: "tip", d: `M${x2} ${y2}l-7 -3.5v7z` }));
  }
  for (const n of nodes) {
    const [x, y] = place.get(n), [text] = say(n);
    const clip = (t, most) => (t.length > most ? t.slice(0, most - 1) + "…" : t).replace(/\s+/g, " ");
    const node = s("g", { class: `node s${D.source[n]}${n === i ? " here" : ""}`, tabindex: n === i ? 0 : -1, role: "button", "aria-label": `${called(n)}: ${clip(text, 80)}${n === i ? ", selected" : ""}`, "data-at": n },
      s("title", {}, `${typeOf(n)}: ${clip(text, 200)}`), s("rect", { x, y, width: W, height: H, rx: 6 }),
      s("text", { x: x + 9, y: y + 14, class: "type" }, clip(called(n), 22)), s("text", { x: x + 9, y: y + 29 }, clip(text, 19)));
    node.addEventListener("click", () => select(n));
    svg.append(node);
  }
  svg.addEventListener("keydown", (e) => {
    const at = Number(e.target.dataset?.at);
    if (!Number.isInteger(at)) return;
    if (e.key === "Enter" || e.key === " ") { e.preventDefault(); e.stopPropagation(); select(at); $("detail").querySelector(".node.here")?.focus(); return; }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (!way) return;
    e.preventDefault();
    e.stopPropagation();
    const [x, y] = place.get(at);
    let best = null, least = Infinity;
    for (const n of nodes) {
      const [nx, ny] = place.get(n), dx = (nx - x) * way[0], dy = (ny - y) * way[1];
      if (way[0] ? dx <= 0 : nx !== x || dy <= 0) continue;
      const far = way[0] ? dx * 10 + Math.abs(ny - y) : dy;
      if (far < least) { least = far; best = n; }
    }
    if (best !== null) svg.querySelector(`[data-at="${best}"]`).focus();
  });
  const holder = el("div", "graph", svg);
  requestAnimationFrame(() => {
    const [x, y] = place.get(i);
    holder.scrollLeft = x - (holder.clientWidth - W) / 2;
    holder.scrollTop = y - (holder.clientHeight - H) / 2;
  });
  return { holder, cut };
}

// --- commands

function leave() {
  document.body.classList.remove("reading");
  $("list").focus();
}
const THEMES = ["auto", "light", "dark"];
function turnTheme() {
  const root = document.documentElement;
  root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % 3];
  nameTheme();
  drawStrip();
}
function nameTheme() { $("theme-name").textContent = document.documentElement.dataset.theme; }

function onKey(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const typing = e.target.matches?.("input:not([type=checkbox]), select, textarea");
  if (document.querySelector("dialog[open]")) return;
  if (e.key === "Escape") {
    const open = document.querySelector(".menu[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
    else if (typing || document.body.classList.contains("reading") || $("detail").contains(document.activeElement)) leave();
    else if (selected >= 0) select(-1);
    return;
  }
  if (typing) { if (e.key === "Enter" && e.target === $("q")) leave(); return; }
  const page = Math.max(1, Math.floor($("list").clientHeight / ROW) - 1);
  const inList = document.activeElement === $("list") || document.activeElement === document.body;
  const moves = { j: 1, k: -1, ...(inList ? { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity } : {}) };
  if (e.key in moves) { e.preventDefault(); step(moves[e.key]); return; }
  const jump = (i) => { if (i !== undefined && i >= 0) select(i); };
  const acts = {
    "/": () => { document.body.classList.remove("reading"); $("q").focus(); $("q").select(); },
    "?": () => $("help").showModal(),
    t: turnTheme,
    p: () => selected >= 0 && jump(D.parent[selected]),
    c: () => selected >= 0 && jump((children.get(selected) ?? dependents.get(selected) ?? [])[0]),
    g: () => { if (narrow()) document.body.classList.add("reading"); $("detail").querySelector(".node.here")?.focus(); },
  };
  if (e.key === "Enter" && inList && selected >= 0) { e.preventDefault(); read(); }
  else if (acts[e.key]) { e.preventDefault(); acts[e.key](); }
}

// --- start

function start(data) {
  D = data;
  D.type ??= { values: [], codes: [] };
  D.truncatedSet = new Set(D.truncated);
  index();
  for (let i = 0; i < D.n; i++) for (const b of get("contradicts", i) ?? []) contradictions.push([i, b]);
  $("title").textContent = D.title || "Trace";
  $("chain").textContent = D.chain;
  const counts = [0, 0, 0];
  for (const s of D.source) counts[s]++;
  const facts = $("facts");
  facts.append(el("span", "", el("b", "", D.n.toLocaleString("en")), D.n === 1 ? " event" : " events"));
  counts.forEach((n, s) => { if (n) { const badge = sourceBadge(s); badge.prepend(el("b", "", n.toLocaleString("en")), " "); facts.append(badge); } });
  if (t1 > t0) facts.append(el("span", "", el("b", "", span(t1 - t0)), " from first to last"));
  if (D.seal) facts.append(el("span", `seal ${D.seal.state}`, D.seal.says));
  if (D.issues.length) {
    const b = $("issues-button");
    b.hidden = false;
    b.textContent = D.issues.length === 1 ? "1 parse issue" : `${D.issues.length} parse issues`;
    b.addEventListener("click", () => { if (!$("issue-list").children.length) $("issue-list").append(problemList(D.issues.slice(0, 1000), true)); $("issues").showModal(); });
    $("flawed-pick").hidden = issuesOf.size === 0;
  }
  counts.forEach((n, s) => {
    if (!n) return;
    const b = button("", "", () => { if (F.sources.has(s)) F.sources.delete(s); else F.sources.add(s); showFilters(); refilter(); });
    b.dataset.source = s;
    b.append(sourceBadge(s));
    b.setAttribute("aria-pressed", "true");
    $("sources").append(b);
  });
  const byType = D.type.values.map(() => 0);
  for (const code of D.type.codes) byType[code]++;
  const sheet = $("types"), both = el("div", "both");
  const choose = (types) => { F.types = types; showFilters(); refilter(); };
  both.append(button("", "All", () => choose(null)), button("", "None", () => choose(new Set())));
  sheet.append(both);
  byType.map((n, code) => [n, code]).sort((a, b) => b[0] - a[0]).forEach(([n, code]) => {
    const box = el("input");
    box.type = "checkbox";
    box.value = code;
    box.addEventListener("change", () => {
      const on = new Set([...sheet.querySelectorAll("input:checked")].map((x) => Number(x.value)));
      choose(on.size === D.type.values.length ? null : on);
    });
    const at = D.type.codes.indexOf(code);
    sheet.append(el("label", "option", box, glyph(at, true), el("span", "", D.type.values[code]), el("span", "soft num", n.toLocaleString("en"))));
  });
  if (D.stage) {
    $("stage-pick").hidden = false;
    for (const stage of D.stage.values) { const o = el("option", "", stage); o.value = stage; $("stage").append(o); }
  }
  $("nesting-pick").hidden = children.size === 0;
  $("nesting").addEventListener("change", () => { F.nesting = $("nesting").value === "1"; refilter(); if (selected >= 0) reveal(selected); });
  let waiting = 0;
  $("q").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => { F.text = $("q").value; refilter(); }, 60); });
  $("everywhere").addEventListener("change", () => { F.everywhere = $("everywhere").checked; refilter(); });
  const bound = (id) => $(id).addEventListener("input", () => { const v = $(id).valueAsNumber; F[id] = Number.isFinite(v) ? v : null; refilter(); });
  bound("low");
  bound("high");
  $("unstated").addEventListener("change", () => { F.unstated = $("unstated").checked; refilter(); });
  $("stage").addEventListener("change", () => { F.stage = $("stage").value; refilter(); });
  $("flawed").addEventListener("change", () => { F.flawed = $("flawed").checked; refilter(); });
  $("clear").addEventListener("click", () => { clearFilters(); $("list").focus(); });
  $("empty-clear").addEventListener("click", clearFilters);
  $("empty-all").addEventListener("click", () => { F.everywhere = true; showFilters(); refilter(); });
  $("overview-button").addEventListener("click", () => { select(-1); if (narrow()) read(); });
  $("theme-button").addEventListener("click", turnTheme);
  $("help-button").addEventListener("click", () => $("help").showModal());
  SOURCES.forEach((_, s) => $("legend").append(sourceBadge(s)));
  document.addEventListener("click", (e) => { for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(e.target)) menu.open = false; });
  document.addEventListener("keydown", onKey);
  $("list").addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(draw).observe($("list"));
  nameTheme();
  makeAxis();
  const from = () => { selected = recall(); showFilters(); refilter(); if (selected >= 0) reveal(selected); showDetail(); };
  addEventListener("hashchange", from);
  from();
  document.body.dataset.ready = "";
}
function fail(error) {
  const note = el("p", "empty", `This page could not read its data: ${error}`);
  document.querySelector("main").replaceChildren(note);
}
unpack().then(start).catch(fail);
})();

// What is shown: the filters, their state in the page and in the address.

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

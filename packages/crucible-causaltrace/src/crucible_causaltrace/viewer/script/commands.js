// The keys.

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

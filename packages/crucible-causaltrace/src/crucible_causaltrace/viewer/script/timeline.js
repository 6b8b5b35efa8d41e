// The timeline: where the events lie in time, or in order where no time is known.

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

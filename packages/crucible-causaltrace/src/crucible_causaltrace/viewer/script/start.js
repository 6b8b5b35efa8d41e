// The page is put together once the data are there.

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

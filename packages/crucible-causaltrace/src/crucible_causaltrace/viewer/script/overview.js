// The chain as a whole, where no event is selected.

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

// The chain as it was packed, and who lies under whom.

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

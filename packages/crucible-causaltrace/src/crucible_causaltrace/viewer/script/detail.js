// One event in detail, and the events that it is linked to.

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

// The graph of the selected event: what it rests on to the left, what rests on it to the right.

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

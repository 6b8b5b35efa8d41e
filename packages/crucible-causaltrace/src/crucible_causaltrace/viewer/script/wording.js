// How an event is put into words.

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

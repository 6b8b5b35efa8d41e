// What the page calls things, and how it makes elements.

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

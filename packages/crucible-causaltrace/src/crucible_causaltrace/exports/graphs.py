"""Chains as graphs for other programs: GraphML and DOT."""

import io
import json
import re
from typing import TYPE_CHECKING, Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event
from crucible_causaltrace.exports.wording import replace_unspeakable

if TYPE_CHECKING:
    import networkx

_LONGEST_LABEL = 80
_DOT_STYLES = {
    "self_report": "dashed",
    "system_observed": "solid",
    "intervention": "bold",
}
_EDGE_STYLES = {"parent": "solid", "depends_on": "dashed", "contradicts": "dotted"}
_DOT_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def to_graphml(chain: Chain) -> str:
    """Write a chain as GraphML: nodes n1, n2, ... with all that is known of the events.

    Lists and metadata are JSON texts. Characters that XML cannot hold become U+FFFD.
    """
    import networkx

    graph = networkx.MultiDiGraph(
        id=replace_unspeakable(chain.id), task=replace_unspeakable(chain.task)
    )
    names = _names(chain)
    for event in chain:
        graph.add_node(names[event.id], **_attributes(event))
    for before, after, kind in _edges(chain, names):
        graph.add_edge(before, after, kind=kind)
    return _write(graph)


def _write(graph: "networkx.MultiDiGraph") -> str:
    from networkx.readwrite.graphml import GraphMLWriter

    writer = GraphMLWriter(graph=graph, encoding="utf-8", prettyprint=True)
    out = io.BytesIO()
    writer.dump(out)
    return out.getvalue().decode("utf-8")


def to_dot(chain: Chain) -> str:
    """Write a chain as a DOT graph: self-reports dashed, interventions bold."""
    names = _names(chain)
    lines = ["digraph chain {", "  node [shape=box];", f"  label={_quoted(chain.task)};"]
    for event in chain:
        label = event.type if event.decision is None else f"{event.type}: {event.decision}"
        if len(label) > _LONGEST_LABEL:
            label = label[: _LONGEST_LABEL - 1] + "…"
        facts = {"label": label, "id": event.id, "class": event.source}
        said = ", ".join(f"{name}={_quoted(value)}" for name, value in facts.items())
        lines.append(f"  {names[event.id]} [{said}, style={_DOT_STYLES[event.source]}];")
    lines += [
        f"  {before} -> {after} [kind={kind}, style={_EDGE_STYLES[kind]}"
        + (", constraint=false];" if kind == "contradicts" else "];")
        for before, after, kind in _edges(chain, names)
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _names(chain: Chain) -> dict[str, str]:
    return {event.id: f"n{n}" for n, event in enumerate(chain, start=1)}


def _edges(chain: Chain, names: dict[str, str]) -> list[tuple[str, str, str]]:
    """List the edges; a contradiction leads from who contradicts to what is contradicted."""
    edges = []
    for event in chain:
        here = names[event.id]
        if event.parent is not None:
            edges.append((names[event.parent], here, "parent"))
        edges += [(names[id], here, "depends_on") for id in event.depends_on]
        edges += [(here, names[id], "contradicts") for id in event.contradicts]
    return edges


def _attributes(event: Event) -> dict[str, Any]:
    links = ("parent", "depends_on", "contradicts")
    known = {k: v for k, v in event.to_dict().items() if k not in links and v not in (None, [], {})}
    return {
        name: value
        if isinstance(value, bool | int | float)
        else replace_unspeakable(value if isinstance(value, str) else json.dumps(value))
        for name, value in known.items()
    }


def _quoted(text: str) -> str:
    plain = re.sub(r"[\t\v\f]", " ", replace_unspeakable(text))
    return f'"{plain.translate(_DOT_ESCAPES)}"'

import csv
import io
import json
import re
import warnings
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from crucible_causaltrace import Chain, Event, export_chain, parse_llm_output
from crucible_causaltrace.errors import ExportTooLargeError
from crucible_causaltrace.exports import FORMATS

HOSTILE = [
    "<script>alert(1)</script>", "</script>", '"><img src=x onerror=alert(1)>',
    "[x](javascript:alert(1))", "=cmd()", "+1", "-1", "@x", "\t=1", "\r=1", "{{7*7}}",
    "\u202etxt.exe", "a" * 10_000, "```\n<b>x</b>\n```", "a\n\n<div>\n", "&lt;b&gt; &#60;i&#62;",
    "\x00\x0b\ud800", "<!-- x -->", "    <pre>", "1. <ul>", "# h", "| a | b |", "http://x.test www.x.test",
    "$x$ \\<b> \\", '"] --> n2["', "end", "`<u>`",
]  # fmt: skip


def hostile_chain():
    chain = Chain("".join(HOSTILE), id="h", text="\n".join(HOSTILE))
    for n, text in enumerate(HOSTILE):
        chain.add(
            Event(
                id=f"{n} {text}", type=text, source="self_report", decision=text, reasoning=text,
                alternatives=[text], code=text, code_language=text, spec_reference=text,
                stage=text, outcome=text, experiment_id=text, metadata={text: text},
                depends_on=[f"{n - 1} {HOSTILE[n - 1]}"] if n else [],
            )
        )  # fmt: skip
    return chain


def test_json_keeps_everything(oddities):
    for chain in (parse_llm_output(oddities, "t"), hostile_chain(), Chain("t")):
        assert Chain.from_dict(json.loads(export_chain(chain, "json"))) == chain


def test_the_schema_that_is_shipped_describes_what_is_written(oddities):
    from jsonschema import Draft202012Validator, ValidationError

    folder = files("crucible_causaltrace.exports")
    schema = json.loads((folder / "chain-1.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    changed = parse_llm_output(oddities, "t")
    changed.link("e1", depends_on="t1")
    for chain in (parse_llm_output(oddities, "t"), changed, hostile_chain(), Chain("t")):
        validator.validate(json.loads(export_chain(chain, "json")))
    # Every field of an event is described, and none besides.
    event = Event(id="a", type="t", source="self_report").to_dict()
    assert set(schema["$defs"]["event"]["properties"]) == set(event)
    for wrong in ({"confidence": 1.5}, {"source": "guess"}, {"cause": "x"}):
        with pytest.raises(ValidationError):
            validator.validate(Chain("t").to_dict() | {"events": [event | wrong]})


def test_json_lines_hold_the_same(oddities):
    chain = parse_llm_output(oddities, "t")
    head, *events = map(json.loads, export_chain(chain, "jsonl").splitlines())
    assert Chain.from_dict(head | {"events": events}) == chain


@given(st.text(), st.text(st.characters(codec=None, categories=["Cs", "Cc", "Po", "Sm"])))
def test_json_round_trips_any_text(task, decision):
    # A surrogate pair in two pieces is, in JSON, the one character that it stands for.
    decision = decision.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    chain = Chain(task)
    chain.add(
        Event(id="a", type="t", source="self_report", decision=decision, metadata={decision: task})
    )
    assert Chain.from_dict(json.loads(export_chain(chain, "json"))) == chain


def nodes(markdown):
    for token in MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(markdown):
        yield token
        yield from token.children or ()


def test_no_markup_of_a_model_survives_in_markdown():
    text = export_chain(hostile_chain(), "markdown")
    found = list(nodes(text))
    kinds = {node.type for node in found}
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "table_open",
        "blockquote_open",
    }
    # What is shown is what was said: every hostile decision, letter by letter, or in a fence.
    # (A line is shown with its blanks collapsed, and what no format can hold as U+FFFD.)
    shown = "\n".join(
        node.content for node in found if node.type in ("text", "text_special", "fence")
    )
    flat = "".join("".join(c.content for c in t.children or [t]) for t in found)
    for said in (
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "&lt;b&gt; &#60;i&#62;",
        "{{7*7}}",
    ):
        assert said in flat, said
    assert "<b>x</b>" in shown
    assert len([node for node in found if node.type == "heading_open" and node.tag == "h1"]) == 1


def test_markdown_says_what_a_reason_is(oddities):
    text = export_chain(parse_llm_output(oddities, "t"), "markdown")
    assert "not proof of why" in text
    assert "### 2. decision\\_made (self-report)" in text
    assert "**Stated reason:** One file" in text
    assert "- Confidence: 0.85" in text
    assert "- Confidence: not stated" in text
    assert "line 6: unclosed\\_element" in text


@given(st.text(st.sampled_from("<>[]()`*_#&\\!|-+.=~\n :/ax1"), max_size=40))
def test_no_text_becomes_markup(said):
    chain = Chain("t")
    chain.add(Event(id="a", type="t", source="self_report", decision=said, reasoning=said))
    plain = Chain("t")
    plain.add(Event(id="a", type="t", source="self_report", decision="x", reasoning="x"))
    allowed = {node.type for node in nodes(export_chain(plain, "markdown"))} | {
        "fence",
        "text_special",
    }
    assert {node.type for node in nodes(export_chain(chain, "markdown"))} <= allowed


def test_csv_has_a_row_per_event_and_no_formula():
    chain = hostile_chain()
    rows = list(csv.DictReader(io.StringIO(export_chain(chain, "csv"), newline="")))
    assert len(rows) == len(chain)
    for row, event in zip(rows, chain, strict=True):
        assert not any(
            cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in row.values()
        )
        assert row["decision"].removeprefix("'") == event.decision.replace(
            "\x00", "\ufffd"
        ).replace("\x0b", "\ufffd").replace("\ud800", "\ufffd")
        assert json.loads(row["alternatives"]) == list(event.alternatives)
        assert json.loads(row["metadata"]) == event.metadata
        assert row["confidence"] == ""


def test_csv_keeps_numbers():
    chain = Chain("t")
    chain.add(Event(id="a", type="t", source="self_report", confidence=0.25, time_s=-1.5))
    (row,) = csv.DictReader(io.StringIO(export_chain(chain, "csv"), newline=""))
    assert (row["confidence"], row["time_s"], row["truncated"]) == ("0.25", "-1.5", "false")


def test_a_flowchart_draws_events_links_and_sources():
    chain = Chain("t")
    chain.add(Event(id="a b", type="task_decomposed", source="self_report", decision="Split"))
    chain.add(Event(id="b", type="x", source="system_observed", parent="a b"))
    chain.add(Event(id="c", type="x", source="intervention", depends_on=["b"], contradicts=["a b"]))
    assert export_chain(chain, "mermaid_flowchart") == (
        "flowchart TD\n"
        "  classDef self_report stroke-dasharray: 5 4\n"
        "  classDef system_observed stroke-width: 1px\n"
        "  classDef intervention stroke-width: 4px\n"
        '  n1["task_decomposed#58; Split"]:::self_report\n'
        '  n2["x"]:::system_observed\n'
        '  n3["x"]:::intervention\n'
        "  n1 --> n2\n"
        "  n2 -.-> n3\n"
        '  n3 -. "contradicts" .-> n1\n'
    )


def test_no_text_of_a_model_stands_in_the_syntax_of_a_diagram():
    for line in export_chain(hostile_chain(), "mermaid_flowchart").splitlines()[4:]:
        if '["' not in line:
            continue
        start, end = line.index('["') + 2, line.rindex('"]')
        label = line[start:end]
        assert not set(label) & set("\"[](){}<>|`\\&@*~\n\r\t\x00\x0b$'^%")
        assert len(label) <= 80 * len("#00000;")


def test_a_diagram_of_too_many_events_says_so():
    chain = Chain("t")
    chain.extend([Event(id=f"n{n}", type="t", source="self_report") for n in range(501)])
    with pytest.raises(ExportTooLargeError) as caught:
        export_chain(chain, "mermaid_flowchart")
    assert (caught.value.events, caught.value.limit) == (501, 500)
    drawn = export_chain(chain, "mermaid_flowchart", limit=3)
    assert drawn.count(":::") == 3
    assert "the first 3 of 501 events" in drawn


def test_a_format_that_is_not_there_lists_those_that_are():
    with pytest.raises(
        ValueError, match=r"'json', 'jsonl', 'markdown', 'csv', 'mermaid_flowchart'"
    ):
        export_chain(Chain("t"), "xml")


@pytest.mark.parametrize(("format", "limit"), [("csv", 3), ("mermaid_flowchart", 0)])
def test_a_limit_that_cannot_be_kept_is_refused(format, limit):
    with pytest.raises(ValueError, match="`limit`"):
        export_chain(Chain("t"), format, limit=limit)


@pytest.mark.parametrize("format", FORMATS)
def test_a_path_gets_what_is_returned(tmp_path, format):
    chain = hostile_chain()
    text = export_chain(chain, format, path=tmp_path / "x")
    assert (tmp_path / "x").read_bytes().decode() == text
    assert export_chain(Chain("t"), format)


# Graphs


@pytest.fixture
def linked():
    chain = Chain("t\x0b")
    chain.add(
        Event(
            id="a\x00", type="x", source="self_report", decision='say "\\N" \x0b\ud800', time_s=0.0
        )
    )
    chain.add(Event(id="a\x01", type="x", source="system_observed", parent="a\x00", duration_s=1.0))
    chain.add(Event(id="b", type="x", source="self_report", decision="second\nline", depends_on=["a\x00", "a\x01"],
                    time_s=1e9, duration_s=0.5, confidence=0.5, metadata={"k": [1]}))  # fmt: skip
    chain.add(Event(id="c", type="x", source="intervention", contradicts=["b"], decision="no"))
    return chain


def test_networkx_reads_the_graphml_that_is_written(linked):
    import networkx

    for chain in (linked, hostile_chain(), Chain("t")):
        graph = networkx.parse_graphml(export_chain(chain, "graphml"), force_multigraph=True)
        assert len(graph) == len(chain)
        links = sum(len(e.depends_on) + len(e.contradicts) + (e.parent is not None) for e in chain)
        assert graph.number_of_edges() == links
    graph = networkx.parse_graphml(export_chain(linked, "graphml"), force_multigraph=True)
    # What XML cannot hold is U+FFFD, and two ids that look alike then are still two nodes.
    assert graph.nodes["n1"]["decision"] == 'say "\\N" \ufffd\ufffd'
    assert graph.nodes["n1"]["id"] == graph.nodes["n2"]["id"] == "a\ufffd"
    assert "decision" not in graph.nodes["n2"]
    assert (graph.nodes["n3"]["confidence"], graph.nodes["n3"]["truncated"]) == (0.5, False)
    assert json.loads(graph.nodes["n3"]["metadata"]) == {"k": [1]}
    assert {(a, b, k) for a, b, k in graph.edges(data="kind")} == {
        ("n1", "n2", "parent"), ("n1", "n3", "depends_on"), ("n2", "n3", "depends_on"),
        ("n4", "n3", "contradicts"),
    }  # fmt: skip


def test_pydot_reads_the_dot_that_is_written(linked):
    import pydot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydot's own use of pyparsing
        import pydot.dot_parser

    for chain in (linked, hostile_chain(), Chain("t")):
        (graph,) = pydot.graph_from_dot_data(export_chain(chain, "dot"))
        nodes = [node for node in graph.get_nodes() if node.get_name() != "node"]
        assert [node.get_name() for node in nodes] == [f"n{n}" for n in range(1, len(chain) + 1)]
        assert len(graph.get_edges()) == export_chain(chain, "dot").count(" -> n")
    (graph,) = pydot.graph_from_dot_data(export_chain(linked, "dot"))
    first, second, *_ = (node for node in graph.get_nodes() if node.get_name() != "node")
    # As it stands in the file: quotes and backslashes escaped, so that \N is no node's name.
    assert first.get_label() == r'"x: say \"\\N\" ' + '\ufffd\ufffd"'
    assert (first.get_style(), second.get_style()) == ("dashed", "solid")


def test_graphviz_would_read_the_text_back():
    # DOT's escString: \\ and \" stand for what they escape, \n for a line break.
    text = export_chain(hostile_chain(), "dot")
    for line in text.splitlines()[3:-1]:
        inside = re.sub(r"\\.", "", line)
        assert inside.count('"') % 2 == 0
        assert not re.sub(r'"[^"]*"', "", inside).strip(
            " abcdefghijklmnopqrstuvwxyz0123456789_=,[];>-"
        )


def test_prov_is_read_back_with_equal_counts(linked):
    import prov.model as pm

    for chain in (linked, hostile_chain(), Chain("t")):
        doc = pm.ProvDocument.deserialize(content=export_chain(chain, "prov_json"), format="json")

        def count(kind, doc=doc):
            return len(list(doc.get_records(kind)))

        decided = sum(e.decision is not None for e in chain)
        grounds = [(e, chain[id]) for e in chain for id in e.depends_on]
        said = [(e, on) for e, on in grounds if on.decision is not None]
        parents = sum(e.parent is not None for e in chain)
        assert count(pm.ProvActivity) == count(pm.ProvAssociation) == len(chain)
        assert count(pm.ProvEntity) == decided + 1  # and the chain
        assert count(pm.ProvGeneration) == decided
        assert count(pm.ProvUsage) == len(said)
        assert count(pm.ProvDerivation) == sum(e.decision is not None for e, _ in said)
        assert count(pm.ProvCommunication) == parents + len(grounds) - len(said)
        assert count(pm.ProvAgent) == len({e.source for e in chain})


def test_prov_states_times_only_where_they_are_known(linked):
    linked.add(Event(id="far", type="x", source="self_report", time_s=1e300))
    activities = json.loads(export_chain(linked, "prov_json"))["activity"]
    # 10^9 s after the epoch: 2001-09-09 01:46:40 UTC.
    assert activities["c:n3"]["prov:startTime"] == "2001-09-09T01:46:40+00:00"
    assert activities["c:n3"]["prov:endTime"] == "2001-09-09T01:46:40.500000+00:00"
    assert activities["c:n1"]["prov:startTime"] == "1970-01-01T00:00:00+00:00"
    for other in ("c:n2", "c:n4", "c:n5"):
        assert not {"prov:startTime", "prov:endTime"} & set(activities[other])


def test_no_export_calls_a_self_report_a_cause(linked):
    for format in FORMATS:
        text = export_chain(linked, format).lower()
        assert "cause" not in text.replace("crucible-causaltrace", "")
    agents = json.loads(export_chain(linked, "prov_json"))["wasAssociatedWith"].values()
    assert [a["prov:agent"] for a in agents] == ["c:model", "c:system", "c:model", "c:experimenter"]

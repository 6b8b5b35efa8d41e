import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from crucible_causaltrace import Chain, Event, export_chain, parse_llm_output
from crucible_causaltrace.errors import ExportTooLargeError

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
        export_chain(Chain("t"), "graphml")


@pytest.mark.parametrize(("format", "limit"), [("csv", 3), ("mermaid_flowchart", 0)])
def test_a_limit_that_cannot_be_kept_is_refused(format, limit):
    with pytest.raises(ValueError, match="`limit`"):
        export_chain(Chain("t"), format, limit=limit)


@pytest.mark.parametrize("format", ["json", "jsonl", "markdown", "csv", "mermaid_flowchart"])
def test_a_path_gets_what_is_returned(tmp_path, format):
    chain = hostile_chain()
    text = export_chain(chain, format, path=tmp_path / "x")
    assert (tmp_path / "x").read_bytes().decode() == text
    assert export_chain(Chain("t"), format)

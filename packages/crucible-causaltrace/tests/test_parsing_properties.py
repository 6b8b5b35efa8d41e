from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crucible_causaltrace import Event, EventParser, build_causal_prompt, parse
from crucible_causaltrace.scanner import Scanner
from crucible_causaltrace.tagged import write_tagged
from crucible_causaltrace.vocabulary import CANONICAL_TYPES

FRAGMENTS = [
    "<event", '<event type="synthesis">', '<event type="decision_made" id="a" depends_on="b">',
    '<event id="b" parent="a"/>', "</event>", "<EVENT type=x>", "</event >", "<decision>",
    "</decision>", "<reasoning>", "</reasoning>", "<confidence>", "</confidence>", "0.9", "85%",
    "<alternatives>", "</alternatives>", "<alternative>", "</alternative>", "<code_section>",
    "<code_section lang='py'>", "</code_section>", "<metadata>", '{"a": 1}', "</metadata>",
    "<spec_reference/>", "<code>", "</code>", "<![CDATA[", "]]>", "<!--", "<!-- k: v -->", "-->",
    "```", "```xml", "\n```\n<event type=x>", "\n~~~xml\n<code>", "\n```\n", "```python", "````", "~~~", "~~~ ", "   ```", "\n", "\r\n", " ", "<", ">", "&",
    "&lt;", "&#65;", "&#xD800;", '"', "'", "/", "=", ",", ";", "a", "<b>", "\x00", "\ud800",
    "\U0001f600", "é", "- ",
]  # fmt: skip
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


def stream(text, cuts):
    parser = EventParser()
    events = []
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, end in pairwise(bounds):
        events += parser.feed(text[start:end])
    return parser.close(), events


@given(texts)
@example("```\n<event type=x></event>\n```")
def test_the_spans_partition_any_text(text):
    report = parse(text)
    assert "".join(text[s.start : s.end] for s in report.spans) == text
    assert all(s.start < s.end for s in report.spans)
    assert "".join(text[s.start : s.end] for s in report.spans if s.kind == "text") == report.text
    events = [s for s in report.spans if s.kind == "event"]
    assert [(s.event, s.start, s.end) for s in events] == [
        (n, *event.span) for n, event in enumerate(report.events)
    ]
    assert [i.start for i in report.issues] == sorted(i.start for i in report.issues)
    for issue in report.issues:
        before = text[: issue.start]
        line = (before.count("\n") + 1, issue.start - (before.rfind("\n") + 1) + 1)
        assert (issue.line, issue.column) == line


@given(texts, st.lists(st.integers(0, 10_000), max_size=12))
def test_every_chunking_gives_the_same(text, cuts):
    report, events = stream(text, cuts)
    assert report == parse(text)
    # What arrived early is what the report says, but for ids and links, which may change.
    told = [(e.span, e.decision, e.confidence, e.metadata.get("text")) for e in events]
    known = [(e.span, e.decision, e.confidence, e.metadata.get("text")) for e in report.events]
    assert told == known[: len(told)]


@given(texts)
def test_character_by_character_gives_the_same(text):
    assert stream(text, range(len(text)))[0] == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        '<event type="x"/>\n  ```python\n<event type="y"/>\n```\n<event/>',
        '<event type="x"/>a ```python\n<event type="y"/>\n```\n<event/>',
        "<event/>\n```xml\n \n<event><decision>a</decision></event>\n```\n<event/>",
        "<event/><event><decision><![CDATA[</decision></event>]]></decision></event><event/>",
        "<event/><event><decision><![CDATA[</decision></event><event/>",
        "<event/><event><code_section></decision><event></code_section></event><event/>",
        "<event/><code>a</event></code><event/><code><event/>",
        "<event/><!-- <event/> --><event/><!-- <event/>\n --><event/>",
        "<event/>\n````\n<event/>\n```\n````\n<event/>\n```\n<event/>",
        "<event/><event type='x' <event/><event",
        "<event><alternatives><alternative>a</event><event/>",
    ],
)
def test_a_text_may_be_cut_anywhere(text):
    whole = parse(text)
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            assert stream(text, [first, second])[0] == whole


def test_events_arrive_with_the_chunk_that_completes_them(oddities):
    parser = EventParser()
    arrived = {}
    for at, character in enumerate(oddities):
        for event in parser.feed(character):
            arrived[event.span] = at + 1
    report = parser.close()
    whole = {e.span: e.span[1] for e in report.events if not e.truncated}
    # The one without a close is over when the next one's tag is complete.
    whole[report.events[5].span] = oddities.index(">", report.events[5].span[1]) + 1
    assert arrived == whole


def test_a_closed_parser_takes_no_more():
    parser = EventParser()
    parser.feed("a")
    assert parser.close() is parser.close()
    with pytest.raises(ValueError, match="close"):
        parser.feed("b")


def test_each_prefix_keeps_the_events_that_were_over(oddities):
    whole = parse(oddities).events
    # One event has no close: it is over when the next one's tag is complete.
    over_at = {event.span: event.span[1] for event in whole if not event.truncated}
    over_at[whole[5].span] = oddities.index(">", whole[5].span[1]) + 1
    for cut in range(len(oddities) + 1):
        text = oddities[:cut]
        report = parse(text)
        assert "".join(text[s.start : s.end] for s in report.spans) == text
        for event in (e for e in whole if over_at.get(e.span, cut + 1) <= cut):
            kept = next(e for e in report.events if e.span == event.span)
            assert (kept.type, kept.decision, kept.reasoning, kept.confidence) == (
                event.type, event.decision, event.reasoning, event.confidence,
            )  # fmt: skip
            assert kept.alternatives == event.alternatives


ADVERSARIES = [
    "<", "<!--", "```a\n", "<event ", '<event type="', "<code>", "<event><reasoning><![CDATA[",
    "<event><decision>", "<event>", "</event>", "<event><code_section>", "&", "`", "~~~\n```\n",
    "<event><alternatives><alternative>", "```xml\n<event/>\n", '<event a="', "````a\n", "<!-- ",
]  # fmt: skip


@pytest.mark.parametrize("unit", ADVERSARIES)
def test_no_text_is_walked_over_again_and_again(unit):
    # Section 6 of the specification: at most 12 characters examined per character of input.
    text = unit * (20_000 // len(unit))
    scanner = Scanner()
    scanner.read(text, start=0, base=0, final=True)
    assert scanner.examined <= 12 * len(text)


MEANT_TO_BE_TEXT = [
    "</decision>",
    "</event>",
    "<event type=x>",
    "&amp;",
    "&#65;",
    "<![CDATA[x]]>",
    "</alternative>",
]
said = st.lists(
    st.characters(codec="utf-8") | st.sampled_from([*"<>&\"' \n\t;,-]", *MEANT_TO_BE_TEXT]),
    max_size=20,
).map("".join)
ids = st.text("abcXYZ019 ~.", min_size=1, max_size=6).map(str.strip).filter(bool)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | said,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(said, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@st.composite
def chains(draw):
    events = []
    for id in draw(st.lists(ids, max_size=5, unique=True)):
        earlier = [event.id for event in events]
        pick = st.lists(st.sampled_from(earlier), max_size=2) if earlier else st.just([])
        type_ = draw(
            st.sampled_from((*CANONICAL_TYPES, "vendor:probe", "crucible:confidence_updated"))
        )
        rejected = type_ == "alternative_considered" and draw(st.booleans())
        code = draw(st.none() | said.filter(lambda s: "<" not in s))
        event = Event(
            id=id,
            type=type_,
            source="self_report",
            disposition="rejected" if rejected else None,
            decision=draw(st.none() | said),
            reasoning=draw(st.none() | said),
            alternatives=draw(st.lists(said.filter(bool), max_size=3)),
            confidence=draw(st.none() | st.floats(0, 1)),
            code=code,
            code_language=None if code is None else draw(st.none() | st.just('p"y')),
            spec_reference=draw(st.none() | said),
            parent=draw(st.none() | st.sampled_from(earlier)) if earlier else None,
            depends_on=draw(pick),
            contradicts=draw(pick),
            stage=draw(st.none() | st.just("a stage")),
            metadata=draw(st.dictionaries(said, json_values, max_size=3)),
            order=len(events),
        )
        events.append(event)
    return events


@given(chains())
def test_what_is_written_in_tags_is_read_back(events):
    report = parse(write_tagged(events))
    assert [i.code for i in report.issues] == ([] if events else ["no_events"])
    read = [e.to_dict() | {"span": None} for e in report.events]
    assert read == [e.to_dict() for e in events]


@pytest.mark.parametrize(
    "more",
    [
        {"source": "system_observed"},
        {"time_s": 1.0},
        {"code": "</event>"},
        {"disposition": "chosen"},
        {"type": "decision"},
        {"alternatives": [""]},
        {"id": " a"},
    ],
)
def test_what_tags_cannot_say_is_refused(more):
    fields = {"id": "a", "type": "decision_made", "source": "self_report"} | more
    with pytest.raises(ValueError, match="what tags can say"):
        write_tagged([Event(**fields)])


def test_the_prompt_can_be_read_by_the_parser_it_is_for():
    report = parse(build_causal_prompt("What is 6 x 7?"))
    assert report.issues == ()
    assert [e.type for e in report.events] == ["assumption_made", "decision_made"]
    assert report.events[1].depends_on == ("e1",)
    assert report.events[1].reasoning == "3 boxes hold 24 eggs, and 24 < 29"

import json

import pytest

from crucible_causaltrace import EventParser, parse, parse_llm_output
from crucible_causaltrace.errors import InputTooLargeError, TraceParseError


def codes(report):
    return [issue.code for issue in report.issues]


def only_event(text):
    report = parse(text)
    (event,) = report.events
    return event, codes(report)


def test_the_oddities_of_the_specification_are_read_as_it_says(oddities):
    # Every number here is from section 7, test 1 of the specification.
    report = parse(oddities)
    assert [(e.id, e.type, e.confidence) for e in report.events] == [
        ("t1", "task_decomposed", 0.85),
        ("d1", "decision_made", 0.9),
        ("e1", "alternative_considered", None),
        ("e2", "vendor:probe", None),
        ("e3", "unspecified", None),
        ("e4", "made_up", None),
        ("e5", "uncertainty_noted", None),
        ("e6", "synthesis", None),
    ]
    split, store, redis, *_, cut = report.events
    assert split.decision == "Split into parse & render"
    assert split.reasoning == "if x < 3 and y > 2 use <code>one</code>"
    assert store.alternatives == ("PostgreSQL", "DuckDB, embedded")
    assert store.reasoning == "One file <b>not a tag</b>"
    assert store.depends_on == ("t1",)
    assert redis.disposition == "rejected"
    assert cut.truncated
    assert cut.reasoning == "Because it is cut o"
    assert report.events[6].parent == "d1"
    assert [(issue.code, issue.line) for issue in report.issues] == [
        ("unclosed_element", 6),
        ("stray_close", 8),
        ("confidence_out_of_range", 8),
        ("missing_type", 12),
        ("confidence_not_numeric", 12),
        ("unclosed_event", 13),
        ("unknown_type", 13),
        ("unknown_reference", 14),
        ("truncated_event", 18),
    ]
    assert report.metadata == {"model": "demo/one"}
    (block,) = report.code_blocks
    assert (block.language, block.code) == ("python", 'if a < b: print("</event>")')
    assert report.characters() == {"event": 852, "text": 112, "code": 56, "comment": 24, "error": 8}
    assert "".join(oddities[s.start : s.end] for s in report.spans) == oddities


def test_an_unknown_reference_is_kept_in_the_metadata(oddities):
    assert parse(oddities).events[6].metadata == {"unresolved": {"depends_on": ["nope"]}}


def test_columns_count_from_one(oddities):
    stray = parse(oddities).issues[1]
    assert (stray.line, stray.column, oddities[stray.start : stray.end]) == (8, 7, "</event>")


def test_a_report_can_be_written_as_json(oddities):
    written = json.loads(json.dumps(parse(oddities).to_dict()))
    assert set(written) == {"issues", "spans", "metadata", "events", "text", "code_blocks"}
    assert written["spans"][0] == ["text", 0, 6, None]


def test_a_chain_holds_what_the_report_says(oddities):
    chain = parse_llm_output(
        oddities, "Choose a store", id="c1", metadata={"model": "mine", "n": 1}
    )
    assert [event.id for event in chain] == [event.id for event in chain.parse_report.events]
    assert chain.metadata == {"model": "mine", "n": 1}
    assert chain.text == chain.parse_report.text
    assert chain.text.startswith("Plan. \n")


def test_a_strict_reader_is_told_all_issues(oddities):
    with pytest.raises(TraceParseError, match="line 6: unclosed_element") as caught:
        parse_llm_output(oddities, "t", strict=True)
    assert len(caught.value.issues) == 9


def test_a_strict_reader_accepts_warnings():
    chain = parse_llm_output('<event type="own_type"></event>', "t", strict=True)
    assert codes(chain.parse_report) == ["unknown_type"]


def test_an_empty_text_is_a_chain_without_events():
    chain = parse_llm_output("", "t")
    assert len(chain) == 0
    assert codes(chain.parse_report) == ["no_events"]
    assert chain.parse_report.ok


def test_a_text_beyond_the_limit_is_not_parsed():
    with pytest.raises(InputTooLargeError) as caught:
        parse("x" * 11, max_chars=10)
    assert (caught.value.size, caught.value.limit) == (11, 10)
    parser = EventParser(max_chars=10)
    parser.feed("x" * 10)
    with pytest.raises(InputTooLargeError):
        parser.feed("x")


# Rule 1


@pytest.mark.parametrize(
    "tag",
    [
        '<event type="synthesis" id="a">',
        "<EVENT ID='a' TYPE='synthesis'>",
        "<event\n\ttype = synthesis\nid=a >",
        '<event id="a" unknown type="synthesis" type="decision_made">',
    ],
)
def test_a_tag_may_be_written_in_many_ways(tag):
    event, _ = only_event(f"{tag}</event>")
    assert (event.id, event.type) == ("a", "synthesis")


def test_attributes_are_decoded():
    event, _ = only_event('<event type="synthesis" id="a&quot;&lt;b"/>')
    assert event.id == 'a"<b'


def test_an_attribute_without_its_quote_ends_with_the_tag():
    event, _ = only_event('<event id="a" type="synthesis></event>')
    assert (event.id, event.type) == ("a", "synthesis")


def test_a_tag_that_never_closes_is_one_character_of_text():
    report = parse('<event type="x" <event type="synthesis"/>')
    assert codes(report) == ["malformed_tag"]
    assert report.text == '<event type="x" '
    assert [e.type for e in report.events] == ["synthesis"]


def test_names_that_only_begin_like_a_tag_are_text():
    event, issues = only_event(
        '<events><event type="synthesis"><decision>a <decisions> b</decision></event>'
    )
    assert event.decision == "a <decisions> b"
    assert issues == []


def test_letters_that_fold_to_ascii_are_other_letters():
    # U+017F folds to s, U+212A to k: a case-insensitive match in Unicode would take them.
    assert (
        parse('<event type="synthe\u017fis"><deci\u017fion>x</deci\u017fion></event>')
        .events[0]
        .decision
        is None
    )


# Rule 2


def test_a_missing_close_ends_at_the_next_field():
    event, issues = only_event(
        '<event type="synthesis"><decision>a<reasoning>b</reasoning></event>'
    )
    assert (event.decision, event.reasoning, issues) == ("a", "b", ["unclosed_element"])


def test_a_wrong_close_tag_closes():
    event, issues = only_event(
        '<event type="synthesis"><decision>a</reasoning><reasoning>b</reasoning></event>'
    )
    assert (event.decision, event.reasoning, issues) == ("a", "b", ["mismatched_close"])


def test_the_first_of_two_equal_fields_counts():
    event, issues = only_event(
        '<event type="synthesis"><decision>a</decision><decision>b</decision></event>'
    )
    assert (event.decision, issues) == ("a", ["duplicate_field"])


def test_alternatives_accumulate():
    event, issues = only_event(
        '<event type="synthesis"><alternatives>a, b</alternatives>'
        "<alternatives><alternative>c; d</alternative></alternatives></event>"
    )
    assert (event.alternatives, issues) == (("a", "b", "c; d"), [])


def test_an_opened_and_abandoned_field_does_not_hide_the_real_one():
    event, issues = only_event('<event type="synthesis"><decision><decision>a</decision></event>')
    assert (event.decision, issues) == ("a", ["unclosed_element"])


def test_an_empty_field_is_known_to_be_empty():
    event, _ = only_event('<event type="synthesis"><decision></decision><reasoning/></event>')
    assert (event.decision, event.reasoning, event.spec_reference) == ("", "", None)


# Rule 3


def test_entities_are_decoded_once():
    event, _ = only_event(
        '<event type="synthesis"><decision>&amp;lt; &lt;&gt;&quot;&apos; &#65;&#x42; &nbsp; &#xD800;</decision></event>'
    )
    assert event.decision == "&lt; <>\"' AB &nbsp; &#xD800;"


def test_code_is_kept_word_for_word():
    event, issues = only_event(
        '<event type="synthesis"><code_section lang="py">\nif a &lt; b < c: "<decision>"\n</code_section></event>'
    )
    assert event.code == 'if a &lt; b < c: "<decision>"'
    assert (event.code_language, issues) == ("py", [])


def test_code_without_its_close_ends_with_the_event():
    event, issues = only_event('<event type="synthesis"><code_section>x = 1</event>')
    assert (event.code, issues) == ("x = 1", ["unclosed_element"])


def test_code_outside_events_ends_where_an_event_begins():
    report = parse('<code>x = 1 <event type="synthesis"/>')
    assert [block.code for block in report.code_blocks] == ["x = 1 "]
    assert codes(report) == ["unclosed_element"]


def test_a_code_tag_that_nothing_follows_is_text():
    report = parse("use <code> here")
    assert (report.text, report.code_blocks) == ("use <code> here", ())


def test_cdata_is_unwrapped_and_not_decoded():
    event, issues = only_event(
        '<event type="synthesis"><decision> a <![CDATA[ </decision> &lt; ]]> b </decision></event>'
    )
    assert (event.decision, issues) == ("a  </decision> &lt;  b", [])


def test_cdata_without_an_end_is_text():
    event, _ = only_event('<event type="synthesis"><decision>a <![CDATA[ b</decision></event>')
    assert event.decision == "a <![CDATA[ b"


# Rule 4


def test_the_end_inside_a_field_is_one_issue():
    event, issues = only_event('<event type="synthesis"><decision>a</decision><reasoning>half')
    assert (event.truncated, event.reasoning, issues) == (True, "half", ["truncated_event"])


def test_a_number_that_the_end_cuts_was_never_stated():
    event, issues = only_event('<event type="synthesis"><confidence>0.8')
    assert (event.confidence, issues) == (None, ["truncated_event"])


def test_a_field_that_a_new_event_interrupts_is_two_issues():
    report = parse('<event type="synthesis"><decision>a<event type="synthesis"/>')
    assert codes(report) == ["unclosed_event", "unclosed_element"]
    assert [e.decision for e in report.events] == ["a", None]


def test_text_in_no_field_is_kept_and_reported():
    event, issues = only_event('<event type="synthesis">I think so <decision>a</decision></event>')
    assert (event.metadata, issues) == ({"text": "I think so"}, ["loose_text"])


# Rule 5

EVENT = '<event type="synthesis"/>'


def test_a_fence_is_opaque():
    report = parse(f"```python\n{EVENT}\n```\n{EVENT}")
    assert len(report.events) == 1
    assert report.text == f"```python\n{EVENT}\n```\n"


@pytest.mark.parametrize("info", ["", "xml", "XML", "html", "text", "markdown"])
def test_a_fence_around_a_whole_answer_is_transparent(info):
    report = parse(f"```{info}\n\n{EVENT}\n{EVENT}\n```\nAnswer: 4")
    assert len(report.events) == 2
    assert codes(report) == []
    assert report.text.endswith("```\nAnswer: 4")


def test_a_wrapping_may_hold_code_with_fences_of_its_own():
    code = "<event type='synthesis'><code_section>\n```python\nx\n```\n</code_section></event>"
    report = parse(f"```xml\n{code}\n```\nthen\n```xml\n{EVENT}\n```\n")
    assert [e.code for e in report.events] == ["```python\nx\n```", None]
    assert codes(report) == []


def test_a_longer_fence_is_closed_by_one_as_long():
    report = parse(f"````python\n```\n{EVENT}\n```\n````\n{EVENT}")
    assert len(report.events) == 1


def test_a_fence_that_never_closes_is_text_and_what_follows_is_read():
    report = parse(f"```python\n{EVENT}")
    assert len(report.events) == 1
    assert codes(report) == ["unclosed_fence"]


def test_a_wrapping_that_never_closes_is_reported_and_read():
    report = parse(f"So:\n```xml\n{EVENT}\n{EVENT}")
    assert len(report.events) == 2
    assert [(i.code, i.line, i.event_id) for i in report.issues] == [("unclosed_fence", 2, None)]


def test_backticks_within_a_line_are_no_fence():
    assert len(parse(f"see ```a``` and\n```b``` {EVENT}").events) == 1


# Rule 6


def test_the_first_value_of_a_comment_key_counts():
    report = parse("<!-- model: a -->\n<!--model:b-->\n<!-- a remark -->\n<!-- https://x -->")
    assert report.metadata == {"model": "a"}
    assert [s.kind for s in report.spans if s.kind != "text"] == ["comment"] * 4


def test_a_comment_must_close_on_its_line():
    report = parse(f"<!-- {EVENT}\n-->")
    assert len(report.events) == 1
    assert report.metadata == {}


# Rule 8


@pytest.mark.parametrize(
    ("content", "alternatives"),
    [
        ("a, b , ,c", ("a", "b", "c")),
        ("a, b; c", ("a, b", "c")),
        ("- a, x\n* b\n3. c\n\n", ("a, x", "b", "c")),
        ("A &amp; B; C", ("A & B", "C")),
        ("-5, 3", ("-5", "3")),
        ("", ()),
        (
            "<alternative>a, b</alternative> <alternative> c </alternative><alternative/>",
            ("a, b", "c"),
        ),
        ("<alternative>a<alternative>b</alternative>", ("a", "b")),
    ],
)
def test_alternatives_are_split_as_they_are_written(content, alternatives):
    event, _ = only_event(f'<event type="synthesis"><alternatives>{content}</alternatives></event>')
    assert event.alternatives == alternatives


def test_alternatives_that_the_singular_closes_are_read():
    event, issues = only_event(
        '<event type="synthesis"><alternatives>a; b</alternative><decision>d</decision></event>'
    )
    assert (event.alternatives, event.decision, issues) == (("a", "b"), "d", ["mismatched_close"])


# Rule 9


def test_given_ids_stand_and_others_go_around_them():
    report = parse(
        f'{EVENT}<event type="synthesis" id="e1"/>{EVENT}<event type="synthesis" id="e2"/>'
    )
    assert [e.id for e in report.events] == ["e3", "e1", "e4", "e2"]


def test_a_second_bearer_is_renamed_and_references_mean_the_first():
    report = parse(
        '<event type="synthesis" id="a"/><event type="synthesis" id="a"/>'
        '<event type="synthesis" id="a~2"/><event type="synthesis" id="a"/>'
        '<event type="synthesis" id="b" depends_on="a"/>'
    )
    assert [e.id for e in report.events] == ["a", "a~3", "a~2", "a~4", "b"]
    assert report.events[-1].depends_on == ("a",)
    assert codes(report) == ["duplicate_id", "duplicate_id"]


def test_references_may_point_forward_and_be_listed_with_blanks():
    report = parse(
        '<event type="synthesis" id="a" depends_on="b, c" contradicts="d"/>'
        '<event type="synthesis" id="b"/><event type="synthesis" id="c"/>'
        '<event type="synthesis" id="d" depends_on="b c"/>'
    )
    assert report.events[0].depends_on == ("b", "c")
    assert report.events[0].contradicts == ("d",)
    assert report.events[3].depends_on == ("b", "c")
    assert codes(report) == []


def test_a_link_that_closes_a_cycle_is_dropped():
    report = parse(
        '<event type="synthesis" id="a" depends_on="b"/>'
        '<event type="synthesis" id="b" parent="c"/>'
        '<event type="synthesis" id="c" depends_on="a,d"/>'
        '<event type="synthesis" id="d"/>'
    )
    assert codes(report) == ["cycle"]
    assert report.events[2].depends_on == ("d",)
    assert report.events[2].metadata == {"unresolved": {"depends_on": ["a"]}}


def test_an_event_cannot_name_itself():
    event, issues = only_event('<event type="synthesis" id="a" depends_on="a" contradicts="a"/>')
    assert (event.depends_on, event.contradicts) == ((), ())
    assert issues == ["self_reference", "self_reference"]


# Types


@pytest.mark.parametrize(
    ("stated", "type_", "issues"),
    [
        ("Decision-Made", "decision_made", []),
        ("decision", "decision_made", []),
        ("assumption", "assumption_made", []),
        ("constraint_evaluated", "constraint_identified", []),
        ("ambiguity flagged", "uncertainty_noted", []),
        ("confidence_updated", "crucible:confidence_updated", []),
        ("vendor:probe", "vendor:probe", []),
        ("Brand New", "Brand New", ["unknown_type"]),
        ("system:model_call", "system:model_call", ["reserved_type"]),
    ],
)
def test_types_are_canonical_or_kept(stated, type_, issues):
    event, found = only_event(f'<event type="{stated}"/>')
    assert (event.type, found) == (type_, issues)


# Rule 10 and metadata


def test_bytes_are_utf8_and_bad_ones_are_reported():
    report = parse(b"caf\xc3\xa9 \xff\xfe" + EVENT.encode())
    assert codes(report) == ["invalid_utf8"]
    assert (report.issues[0].start, report.issues[0].end) == (5, 7)
    assert report.text.encode("utf-8", "surrogateescape") == b"caf\xc3\xa9 \xff\xfe"


@pytest.mark.parametrize(
    ("content", "metadata", "issues"),
    [
        ('{"a": [1, null], "b": {"c": "d"}}', {"a": [1, None], "b": {"c": "d"}}, []),
        ("tool: grep\nlines: 3", {"tool": "grep", "lines": "3"}, []),
        ("just words", {"text": "just words"}, ["metadata_not_read"]),
        ('{"a": NaN}', {"text": '{"a": NaN}'}, ["metadata_not_read"]),
        ("[" * 100_000, {"text": "[" * 100_000}, ["metadata_not_read"]),
        ('{"a":' * 50 + "1" + "}" * 50, {"text": '{"a":' * 50 + "1" + "}" * 50}, ["metadata_not_read"]),
    ],
)  # fmt: skip
def test_metadata_is_json_or_pairs_or_kept(content, metadata, issues):
    event, found = only_event(f'<event type="synthesis"><metadata>{content}</metadata></event>')
    assert (event.metadata, found) == (metadata, issues)

import enum
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_telemetry import (
    MemoryStore,
    PostgresStore,
    SQLiteStore,
    export,
    start_experiment,
)
from crucible_telemetry.content import is_content
from crucible_telemetry.values import LONGEST_TEXT, clean, clean_text, dump


def recorded(store, **attributes):
    with start_experiment(name="v", store=store, capture_spans=False) as experiment:
        experiment.record("event", **attributes)
        (event,) = experiment.events()
    return event


class Opaque:
    def __repr__(self):
        return "<opaque>"


POISON = {
    "nul": "a\0b",
    "surrogate": "a\ud800b",
    "nan": math.nan,
    "infinities": [math.inf, -math.inf],
    "big": 2**70,
    "object": Opaque(),
}


def test_poison_costs_nothing_but_itself(tmp_path, new_database):
    lines = []
    stores = (MemoryStore(), SQLiteStore(tmp_path / "p.sqlite"), PostgresStore(new_database()))
    for store in stores:
        with start_experiment(name="poison", store=store, capture_spans=False) as experiment:
            for n in range(1_000):
                key, value = list(POISON.items())[n % 100] if n % 100 < 6 else ("fine", n)
                experiment.record("event", **{key: value, "n": n})
            events = list(experiment.events())
            assert len(events) == 1_000
            for event in events:
                key = list(POISON)[n] if (n := event.attributes["n"] % 100) < 6 else None
                assert event.altered == (None if key is None else (key,))
            assert experiment.stats().altered == 60
        path = export(experiment, "jsonl", path=tmp_path / f"{len(lines)}.jsonl")
        text = path.read_text(encoding="utf-8")
        lines.append([json.loads(line)["attributes"] for line in text.splitlines()])
        store.close()
    assert lines[0] == lines[1] == lines[2]
    assert lines[0][:6] == [
        {"nul": "a␀b", "n": 0},
        {"surrogate": "a�b", "n": 1},
        {"nan": "NaN", "n": 2},
        {"infinities": ["Infinity", "-Infinity"], "n": 3},
        {"big": "1180591620717411303424", "n": 4},  # 2**70
        {"object": "<opaque>", "n": 5},
    ]


def test_all_stores_give_the_same_bytes_for_the_same_rows(tmp_path, new_database):
    from crucible_telemetry.exports import import_events

    memory = MemoryStore()
    with start_experiment(name="bytes", store=memory, capture_spans=False) as experiment:
        for key, value in POISON.items():
            more = {"x": [1, {"b": 2}], "floats": [1e16, -0.0, 1e-7, 5e-324, 1.0], "Z": 1, "a": 2}
            experiment.record("event", duration_s=1, cost_usd=0, **{key: value, **more})
    first = export(experiment, "jsonl", path=tmp_path / "1.jsonl")
    for store in (SQLiteStore(tmp_path / "s.sqlite"), PostgresStore(new_database())):
        with store:
            assert import_events(first, store) == 6
            second = export(experiment.id, "jsonl", path=tmp_path / "2.jsonl", store=store)
        assert first.read_bytes() == second.read_bytes()


def test_changing_a_list_after_record_changes_nothing():
    tags = ["a", {"b": 1}]
    with start_experiment(name="v", store=MemoryStore(), capture_spans=False) as experiment:
        experiment.record("event", tags=tags)
        tags[1]["b"] = 2
        tags.append("c")
        (event,) = experiment.events()
    assert event.attributes == {"tags": ["a", {"b": 1}]}


def test_subclasses_and_numpy_scalars_become_plain_without_being_altered():
    class Colour(enum.StrEnum):
        RED = "red"

    class Old(str, enum.Enum):  # noqa: UP042  # what code before 3.11 has
        RED = "red"

    class Number(enum.IntEnum):
        ONE = 1

    event = recorded(
        MemoryStore(),
        colour=Colour.RED,
        old=Old.RED,
        number=Number.ONE,
        f=np.float32(0.5),
        i=np.int64(7),
        b=np.bool_(True),
        t=(1, 2),
    )
    assert event.attributes == {
        "colour": "red", "old": "red", "number": 1, "f": 0.5, "i": 7, "b": True, "t": [1, 2],
    }  # fmt: skip
    assert event.altered is None
    assert all(type(v) in (str, int, float, bool, list) for v in event.attributes.values())


def test_long_text_is_cut_and_a_bad_repr_is_survived():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    loop = []
    loop.append(loop)
    event = recorded(MemoryStore(), text="x" * 20_000, object=Broken(), loop=loop)
    assert event.attributes["text"] == "x" * (LONGEST_TEXT - 1) + "…"
    assert event.attributes["object"] == "<Broken>"
    assert event.altered == ("loop", "object", "text")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(codec=None)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_whatever_is_cleaned_can_be_stored_and_is_clean(value):
    once = clean(value)
    assert json.loads(dump(once.value)) == once.value
    dump(once.value).encode("utf-8")
    assert clean(once.value) == (once.value, False)


@given(st.text(st.characters(codec=None)))
def test_clean_text_changes_only_what_it_must(text):
    cleaned = clean_text(text)
    assert len(cleaned) == len(text)
    for before, after in zip(text, cleaned, strict=True):
        assert after == {"\0": "␀"}.get(before, "�" if "\ud800" <= before <= "\udfff" else before)


CONTENT = [
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions",
    "gen_ai.prompt", "gen_ai.completion", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.retrieval.documents",
    "gen_ai.content.prompt", "input.value", "output.value", "llm.input_messages.0.content",
    "llm.output_messages.0.content", "llm.prompts", "llm.prompts.0.content", "llm.completions.0",
    "traceloop.entity.input", "traceloop.entity.output", "crucible.prompt", "crucible.answer",
]  # fmt: skip
SECRET = "the quick brown secret"


def call_with_content(tracer):
    attributes = dict.fromkeys(CONTENT, SECRET)
    with tracer.start_as_current_span("call", attributes=attributes) as span:
        span.add_event("gen_ai.content.prompt", {"gen_ai.prompt": SECRET})
        span.add_event("retry", {"gen_ai.completion": SECRET, "attempt": 2})
        raise ValueError(SECRET)


def run_with_content(store, tracer, **options):
    with start_experiment(name="content", store=store, **options) as experiment:
        with pytest.raises(ValueError, match="secret"):
            call_with_content(tracer)
        experiment.record("event", **{"gen_ai.prompt": SECRET, "kept": 1})
        return list(experiment.events())


def test_no_prompt_text_reaches_the_file(tmp_path, tracer):
    with SQLiteStore(tmp_path / "c.sqlite") as store:
        call, event = run_with_content(store, tracer)
        raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in raw
    assert b"gen_ai.usage" not in raw  # the search would find text of the file's kind:
    assert b"crucible.dropped" in raw
    assert set(call.attributes["crucible.dropped"]) == {
        *CONTENT, "exception.message", "exception.stacktrace",
    }  # fmt: skip
    assert call.error_type == "ValueError"
    assert [e["name"] for e in call.attributes["crucible.span_events"]] == ["retry", "exception"]
    assert call.attributes["crucible.span_events"][0]["attributes"] == {"attempt": 2}
    assert event.attributes == {"crucible.dropped": ["gen_ai.prompt"], "kept": 1}


def test_content_is_kept_on_request(tmp_path, tracer):
    call, event = run_with_content(MemoryStore(), tracer, capture_content=True)
    assert all(call.attributes[key] == SECRET for key in CONTENT)
    assert "crucible.dropped" not in call.attributes
    assert call.attributes["otel.status_description"] == f"ValueError: {SECRET}"
    assert event.attributes["gen_ai.prompt"] == SECRET


@pytest.mark.parametrize(
    "key", ["gen_ai.usage.input_tokens", "gen_ai.request.model", "llm.prompt_count", "input.values"]
)
def test_what_is_not_content_is_kept(key):
    assert not is_content(key)


def test_attributes_are_promoted_whichever_convention_named_them(tracer):
    class Prices:
        def cost_usd(self, model, input_tokens, output_tokens):
            assert model == "gpt-x"
            return 0.5

    calls = {
        "ours": {"crucible.model.id": "openai/gpt-x", "gen_ai.request.model": "gpt-x",
                 "crucible.cost_usd": 0.25, "crucible.item.id": "q1", "crucible.repeat": 2},
        "genai": {"gen_ai.request.model": "gpt-x", "gen_ai.response.model": "gpt-x-1",
                  "gen_ai.provider.name": "openai", "gen_ai.usage.input_tokens": 10,
                  "gen_ai.usage.output_tokens": 5},
        "older": {"gen_ai.response.model": "other", "gen_ai.system": "az",
                  "gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.completion_tokens": 2},
        "openinference": {"llm.model_name": "gpt-x", "llm.provider": "p",
                          "llm.token_count.prompt": 3, "llm.token_count.completion": 4},
        "wrong": {"gen_ai.request.model": 7, "gen_ai.usage.input_tokens": -1,
                  "crucible.cost_usd": math.nan, "gen_ai.usage.output_tokens": "many"},
    }  # fmt: skip

    class PickyPrices(Prices):
        def cost_usd(self, model, input_tokens, output_tokens):
            return (
                super().cost_usd(model, input_tokens, output_tokens) if model != "other" else None
            )

    with start_experiment(name="p", store=MemoryStore(), prices=PickyPrices()) as experiment:
        for name, attributes in calls.items():
            with tracer.start_as_current_span(name, attributes=attributes):
                pass
        found = {e.name: e for e in experiment.events()}

    def columns(name):
        e = found[name]
        return (e.model, e.provider, e.input_tokens, e.output_tokens, e.cost_usd, e.cost_source)

    assert columns("ours") == ("openai/gpt-x", "openai", None, None, 0.25, "reported")
    assert found["ours"].attributes == {"gen_ai.request.model": "gpt-x"}
    assert (found["ours"].item_id, found["ours"].repeat) == ("q1", 2)
    assert columns("genai") == ("gpt-x", "openai", 10, 5, 0.5, "priced")
    assert found["genai"].attributes == {"gen_ai.response.model": "gpt-x-1"}
    assert columns("older") == ("other", "az", 1, 2, None, None)
    assert columns("openinference") == ("gpt-x", "p", 3, 4, 0.5, "priced")
    assert columns("wrong") == (None,) * 6
    assert found["wrong"].attributes["crucible.cost_usd"] == "NaN"
    assert found["wrong"].altered == ("crucible.cost_usd",)


def test_a_price_book_that_fails_leaves_the_cost_unknown(caplog):
    class Broken:
        def cost_usd(self, model, input_tokens, output_tokens):
            raise KeyError(model)

    with start_experiment(
        name="p", store=MemoryStore(), prices=Broken(), capture_spans=False
    ) as experiment:
        for _ in range(3):
            experiment.record("call", model="m", input_tokens=1, output_tokens=1)
        assert [e.cost_usd for e in experiment.events()] == [None] * 3
    assert caplog.text.count("the price book failed") == 1

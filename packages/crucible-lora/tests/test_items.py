import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_lora.batching import BatchPlan, epoch_order, hold_out, pack
from crucible_lora.demo import (
    demo_findings,
    demo_orders,
    findings_schema,
    orders_schema,
)
from crucible_lora.errors import MaskError, NoTargetTokensError, TruncationError
from crucible_lora.formats import (
    ChatFormat,
    Conversation,
    Gsm8kFormat,
    PlainFormat,
    format_from_dict,
    format_to_dict,
)
from crucible_lora.items import read_items
from crucible_lora.masking import lay_out, lay_out_all
from crucible_lora.schemas import JsonSchema
from crucible_lora.testing import check_schema
from crucible_lora.tokenizers import ByteTokenizer, RoleTokenizer

TOKENIZERS = {"bytes": ByteTokenizer(), "roles": RoleTokenizer()}


def chat(question, answer, **options):
    message = {"role": "user", "content": question}
    return Conversation(messages=(message,), completion=answer, **options)


@dataclass
class Item:
    id: str
    input: str
    expected: object
    metadata: dict = field(default_factory=dict)


def test_three_kinds_of_items_say_the_same():
    given_as = [
        Item("a", "2+2?", "4"),
        {"id": "b", "prompt": "2+2?", "completion": "4"},
        {
            "id": "c",
            "messages": [
                {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": "4"},
            ],
        },
    ]
    first, *others = [ChatFormat()(item) for item in read_items(given_as)]
    assert others == [first, first]
    assert first == chat("2+2?", "4")


def test_an_item_without_id_is_known_by_its_content():
    one, other = read_items([{"input": "q", "expected": "a"}, {"input": "q", "expected": "b"}])
    assert len(one.id) == 64
    assert one.id != other.id
    assert read_items([{"input": "q", "expected": "a"}])[0].id == one.id


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "must not be empty"),
        ([{"id": "x", "input": "q"}], "have none of these: x"),
        ([{"id": "x", "expected": "a"}], "have none of these: x"),
        ([{"messages": [{"role": "user", "content": "q"}]}], "number 0"),
        ([{"id": 1, "input": "q", "expected": "a"}, {"id": 1, "input": "r", "expected": "a"}], "come again: 1"),
        ([{"input": "q", "expected": "a"}] * 2, "come again"),
        ([{"id": "x", "input": "q", "expected": object()}], "'x' must hold JSON values"),
    ],
)  # fmt: skip
def test_malformed_items_are_named(dataset, message):
    with pytest.raises(ValueError, match=message):
        read_items(dataset)


def test_gsm8k_ends_in_its_answer():
    item = read_items(
        [{"input": "1+1?", "expected": "2", "metadata": {"rationale": "One and one."}}]
    )[0]
    conversation = Gsm8kFormat()(item)
    assert conversation.messages[0]["content"] == "Problem: 1+1?\n\nSolution:"
    assert conversation.completion == "One and one.\n#### 2"
    with pytest.raises(ValueError, match='"rationale"'):
        Gsm8kFormat()(read_items([{"input": "1+1?", "expected": "2"}])[0])


def test_formats_survive_storage():
    for format in (ChatFormat(), ChatFormat(system="Be brief."), PlainFormat(), Gsm8kFormat()):
        assert format_from_dict(format_to_dict(format)) == format
    assert format_to_dict(lambda item: chat("q", "a")) is None


def test_the_whole_gsm8k_training_set_can_be_masked(benchmark_data):
    rows = (benchmark_data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    items = []
    for number, row in enumerate(map(json.loads, rows)):
        rationale, _, answer = row["answer"].rpartition("####")
        items.append({"id": str(number), "input": row["question"], "expected": answer.strip(), "metadata": {"rationale": rationale.rstrip()}})  # fmt: skip
    formatted = {i.id: Gsm8kFormat()(i) for i in read_items(items)}
    assert len(formatted) == 7473
    examples, report = lay_out_all(
        formatted, RoleTokenizer(), max_length=10_000, truncation="error"
    )
    assert report.n_examples == 7473
    for item_id, example in list(examples.items())[:200]:
        learned = RoleTokenizer().decode(example.tokens[example.targets()].tolist())
        assert learned == formatted[item_id].completion
        assert learned.splitlines()[-1].startswith("#### ")


text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


@settings(deadline=None)
@given(
    question=text,
    answer=text.filter(bool),
    plain=st.booleans(),
    which=st.sampled_from(sorted(TOKENIZERS)),
)
def test_targets_are_the_answer_and_its_end_and_nothing_else(question, answer, plain, which):
    tokenizer = TOKENIZERS[which]
    question = question or "?"
    example = lay_out("x", chat(question, answer, plain=plain), tokenizer)
    targets = example.tokens[example.targets()].tolist()
    assert example.weights[0] == 0
    assert example.weights.sum() > 0
    assert tokenizer.decode(targets) == answer
    assert targets[-1] in tokenizer.ends
    assert question in tokenizer.decode(example.tokens[: example.targets()[0]].tolist())


def test_the_weight_of_a_conversation_is_that_of_its_targets():
    example = lay_out("x", chat("q", "a", weight=2.5), ByteTokenizer())
    assert set(example.weights.tolist()) == {0.0, 2.5}
    assert example.weights.dtype == np.float32


def test_nothing_to_learn_is_an_error_that_names_the_items():
    with pytest.raises(NoTargetTokensError, match="2 items have no target token: a, b"):
        lay_out_all(
            {"a": chat("q", ""), "b": chat("q", "x", weight=0.0), "c": chat("q", "x")},
            ByteTokenizer(), max_length=99, truncation="error",
        )  # fmt: skip


class Pairs(ByteTokenizer):
    """Merges "ab" into one token, wherever it stands."""

    def encode(self, text, /):
        return list(text.encode().replace(b"ab", b"\xff"))

    def decode(self, ids, /):
        return bytes(i for i in ids if i < 256).replace(b"\xff", b"ab").decode()


def test_a_completion_that_merges_with_the_prompt_is_split_where_the_prompt_ends():
    tokenizer = Pairs()
    assert len(tokenizer.encode("ab")) == 1
    example = lay_out("x", chat("cca", "bbb", plain=True), tokenizer)
    start = example.targets()[0]
    assert tokenizer.decode(example.tokens[:start].tolist()) == "cca"
    assert tokenizer.decode(example.tokens[start:].tolist()) == "bbb"


def test_a_template_that_rewrites_the_prompt_is_refused():
    class Forgetful(ByteTokenizer):
        def chat(self, messages, /, *, generation_prompt):
            kept = messages if generation_prompt else messages[-1:]
            return super().chat(kept, generation_prompt=generation_prompt)

    with pytest.raises(MaskError, match="'x': the template changes the prompt"):
        lay_out("x", chat("q", "a"), Forgetful())


def test_template_text_behind_the_end_is_not_learned():
    class Trailing(ByteTokenizer):
        def chat(self, messages, /, *, generation_prompt):
            tokens = super().chat(messages, generation_prompt=generation_prompt)
            return tokens if generation_prompt else [*tokens, 10]

    example = lay_out("x", chat("q", "a"), Trailing())
    assert example.tokens[-1] == 256
    assert example.tokens[example.targets()].tolist() == [ord("a"), 256]


def test_long_items_raise_or_go_or_lose_the_start_of_their_prompt():
    items = {"short": chat("q", "aa"), "long": chat("q" * 50, "aa")}

    def laid(truncation, max_length=40):
        return lay_out_all(items, RoleTokenizer(), max_length=max_length, truncation=truncation)

    with pytest.raises(TruncationError, match=r"1 items are longer than 40 tokens: long \(56\)"):
        laid("error")
    examples, report = laid("drop")
    assert (list(examples), report.n_dropped, report.n_truncated) == (["short"], 1, 0)
    examples, report = laid("left")
    assert (report.n_dropped, report.n_truncated) == (0, 1)
    assert len(examples["long"].tokens) == 40
    assert (
        RoleTokenizer().decode(examples["long"].tokens[examples["long"].targets()].tolist()) == "aa"
    )
    with pytest.raises(TruncationError, match="never cut"):
        laid("left", max_length=3)
    with pytest.raises(ValueError, match="`max_length` must leave some items"):
        laid("drop", max_length=3)


def test_the_report_counts_and_shows_what_is_learned():
    _, report = lay_out_all(
        {"a": chat("hi", "yo"), "b": chat("hello", "y")},
        RoleTokenizer(), max_length=99, truncation="error",
    )  # fmt: skip
    # <user> h i <end> <assistant> y o <end>: 8 tokens, 3 learned; 10 and 2 for the other
    assert (report.tokens, report.target_tokens, report.min_target_tokens) == (18, 5, 2)
    assert report.target_fraction == 5 / 18
    assert report.preview == ("hi⟦yo⟧", "hello⟦y⟧")


def test_the_order_of_an_epoch_is_the_hash_of_seed_epoch_and_id():
    ids = [str(i) for i in range(50)]
    order = epoch_order(ids, seed=3, epoch=1)
    assert sorted(order) == sorted(ids)
    assert order == epoch_order(ids[::-1], seed=3, epoch=1)
    assert order != epoch_order(ids, seed=3, epoch=2)
    assert order != epoch_order(ids, seed=4, epoch=1)
    # printf '3\0371\037%s' ID | sha256sum | sort
    assert epoch_order(["a", "b", "c"], seed=3, epoch=1) == ["b", "c", "a"]


def test_each_epoch_sees_each_item_once_and_its_last_batch_is_short():
    plan = BatchPlan(ids=tuple(map(str, range(10))), batch=4, epochs=3, seed=0)
    assert (plan.per_epoch, plan.total) == (3, 9)
    for epoch in range(3):
        batches = [plan.at(3 * epoch + i) for i in range(3)]
        assert [len(b) for b in batches] == [4, 4, 2]
        assert sorted(i for batch in batches for i in batch) == sorted(plan.ids)
    capped = BatchPlan(ids=plan.ids, batch=4, epochs=3, seed=0, max_steps=5)
    assert capped.total == 5


def test_the_same_items_are_held_out_whatever_their_order():
    ids = [str(i) for i in range(100)]
    held = hold_out(ids, share=0.1)
    assert len(held) == 10
    assert held == hold_out(ids[::-1], share=0.1)


def test_findings_are_as_described_and_held_out_pairs_are_unseen():
    train, held = demo_findings(400), demo_findings(100, held_out=True)
    schema = JsonSchema(findings_schema())
    assert all(schema.parse(item["expected"]).ok for item in train + held)
    assert all(item["metadata"]["generated"] for item in train)
    pairs = [{i["input"].split(" that ")[1] for i in part} for part in (train, held)]
    assert not pairs[0] & pairs[1]
    for item in train:
        number, verb = item["input"][1], item["input"].split()[2]
        answer = json.loads(item["expected"])
        assert answer["source"] == int(number)
        confirms = verb in ("confirmed", "supported", "shown", "proved", "found")
        assert (answer["verdict"] == "SUPPORTS") is confirms
    assert demo_findings(400) == train
    assert demo_findings(400, seed=1) != train
    assert len({i["input"] for i in demo_findings(1440, held_out=True)}) == 1440  # all there are
    with pytest.raises(ValueError, match=r"`n` must be in \[1, 1440\], got 1441"):
        demo_findings(1441, held_out=True)


def test_orders_are_as_described_and_held_out_pairs_are_unseen():
    train, held = demo_orders(320), demo_orders(64, held_out=True)
    schema = JsonSchema(orders_schema())
    assert all(schema.parse(item["expected"]).ok for item in train + held)

    def pairs(items):
        return {(a["item"], a["city"]) for a in (json.loads(i["expected"]) for i in items)}

    assert not pairs(train) & pairs(held)
    assert not any(i["input"].startswith("By ") for i in train)
    assert any(i["input"].startswith("By ") for i in held)
    for item in train:
        answer = json.loads(item["expected"])
        assert all(str(answer[k]) in item["input"] for k in ("item", "quantity", "city", "day"))
        assert 2 <= answer["quantity"] <= 90


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "text",
    [
        'Sure! {"a": 1}', '{"a": 1} hope that helps', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "1"}',
        "{}", "", '```json\n{"a": 1}\n```', '{"a": 1}{"a": 1}',
    ],
)  # fmt: skip
def test_a_schema_repairs_nothing(text):
    parsed = JsonSchema(SCHEMA).parse(text)
    assert not parsed.ok
    assert parsed.errors


def test_a_schema_accepts_its_form_and_a_fence_if_allowed():
    assert JsonSchema(SCHEMA).parse(' {"a": 1}\n').value == {"a": 1}
    assert JsonSchema(SCHEMA, allow_fence=True).parse('```json\n{"a": 1}\n```').ok
    check_schema(JsonSchema(SCHEMA), good='{"a": 1}', bad='{"a": 1.5}')
    with pytest.raises(ValueError, match="`schema` must be a JSON schema"):
        JsonSchema({"type": "nonsense"})


def test_packing_is_first_fit_decreasing():
    lengths = [4, 7, 1, 3, 5]
    bins = [[lengths[i] for i in group] for group in pack(lengths, size=8)]
    assert bins == [[7, 1], [5, 3], [4]]
    with pytest.raises(ValueError, match="`size` must be >= the longest, 7, got 6"):
        pack(lengths, size=6)


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), max_size=40))
def test_packed_bins_hold_everything_once_and_never_too_much(lengths):
    bins = pack(lengths, size=20)
    assert sorted(i for group in bins for i in group) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in group) <= 20 for group in bins)
    # first-fit decreasing: at most one bin is half empty
    assert sum(2 * sum(lengths[i] for i in group) <= 20 for group in bins) <= 1

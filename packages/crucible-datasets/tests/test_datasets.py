import json
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import (
    DatasetFormatError,
    DatasetUnavailableError,
    FieldMap,
    IntegrityError,
    evaluate,
    extract,
    load,
    sample,
)


def test_gsm8k_has_its_published_items(benchmark_data):
    test = load("gsm8k", path=benchmark_data / "gsm8k")
    train = load("gsm8k", split="train", path=benchmark_data / "gsm8k" / "train.jsonl")
    assert (len(test), len(train)) == (1319, 7473)  # counts of the published files
    # digest of the published test file, as the specification gives it
    assert (
        test.provenance.sha256 == "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"
    )
    assert test[0].id == "gsm8k/test/0"
    assert test[0].expected == "18"  # Janet's ducks
    assert all(extract(item.expected, task="math").value is not None for item in train)


def test_gsm8ks_own_solutions_score_everything_right(benchmark_data):
    test = load("gsm8k", path=benchmark_data / "gsm8k")
    own = {item.id: f"{item.metadata['rationale']}\n#### {item.expected}" for item in test}
    assert evaluate(own, test).accuracy == 1.0


def test_demo_arithmetic_is_generated_and_says_so():
    demo = load("demo-arithmetic")
    assert len(demo) == 162
    assert demo.provenance.kind == "generated"
    item = next(i for i in demo if i.id == "demo-arithmetic/difference-3-7")
    assert (item.input, item.expected) == ("What is 10 - 7? Answer with the number only.", "3")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # The table of the specification.
        ("#### 1,080", 1080),
        ("The answer is 1,234.50.", Fraction("1234.5")),
        (r"\boxed{\frac{3}{4}}", Fraction(3, 4)),
        ("20-5 = 15", 15),
        ("It costs $-10", -10),
        ("5\N{MINUS SIGN}3", 3),
        ("\N{MINUS SIGN}5", -5),
        ("v2.0 of GPT-4", 4),
        ("#### 5\nso the answer is 7", 5),
        ("The answer is: **42**", 42),
        ("12,5", 5),
        ("no number here", None),
    ],
)
def test_numbers_are_read(text, value):
    assert extract(text, task="math").value == value


@given(st.text())
def test_no_text_makes_extraction_raise(text):
    extract(text, task="math")


def test_missing_and_unreadable_answers_count_as_wrong():
    demo = load("demo-arithmetic")[:10]
    right = {item.id: str(item.expected) for item in list(demo)[:6]}
    right[demo[6].id] = "no idea"
    result = evaluate(right, demo)
    assert (result.accuracy, result.n_missing, result.n_unextracted) == (0.6, 3, 1)
    # Wilson 6/10: closed form, agrees with statsmodels proportion_confint
    assert result.accuracy_interval == pytest.approx((0.312674, 0.831820), abs=1e-6)


def test_a_larger_sample_holds_the_smaller_one():
    demo = load("demo-arithmetic")
    small, large = sample(demo, 20, seed=4), sample(demo, 50, seed=4)
    assert set(small.ids) <= set(large.ids)
    assert small.ids == sample(demo, 20, seed=4).ids
    assert small.ids != sample(demo, 20, seed=5).ids
    assert small.provenance.derivations == ("sample of 20, seed 4",)


def test_a_line_that_is_not_json_is_named(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"q": "1+1", "a": "2"}\n{"q": \n')
    with pytest.raises(DatasetFormatError, match=r"mine.jsonl, line 2: not JSON"):
        load("mine", path=file, fields=FieldMap(input="q", expected="a"))
    file.write_text('{"q": "1+1"}\n')
    with pytest.raises(DatasetFormatError, match=r"line 1: no field 'a' \(it has q\)"):
        load("mine", path=file, fields=FieldMap(input="q", expected="a"))


def test_a_missing_source_says_where_to_get_it(tmp_path):
    with pytest.raises(DatasetUnavailableError, match=r"test\.jsonl"):
        load("gsm8k")
    with pytest.raises(DatasetUnavailableError, match="did you mean 'gsm8k'"):
        load("gsm8")
    with pytest.raises(DatasetUnavailableError, match="no file"):
        load("gsm8k", path=tmp_path / "nowhere.jsonl")


def test_another_number_of_items_is_not_the_benchmark(tmp_path):
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({"question": "?", "answer": "so\n#### 1"}) + "\n")
    with pytest.raises(IntegrityError, match="1 items, the published split 'test' 1319"):
        load("gsm8k", path=file)
    assert load("gsm8k", path=file, check_counts=False).name == "gsm8k (unverified)"


def test_the_fingerprint_depends_on_items_and_not_on_the_file(tmp_path):
    rows = [{"q": "1+1", "a": "2"}, {"q": "1+2", "a": "3"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "b.jsonl").write_text(
        "".join(json.dumps(r, indent=None) + "\n\n" for r in rows).replace("\n\n", "\n")
    )
    fields = FieldMap(input="q", expected="a")
    a, b = (load("mine", path=tmp_path / name, fields=fields) for name in ("a.jsonl", "b.jsonl"))
    assert a.fingerprint() == b.fingerprint()
    assert a[:1].fingerprint() != a.fingerprint()


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, crucible_datasets; print({'numpy', 'scipy', 'datasets', 'pandas', 'pyarrow', 'httpx', 'filelock'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

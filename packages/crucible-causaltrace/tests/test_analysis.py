import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_causaltrace import Chain, Event, calibrate_confidence, mine_patterns, parse_llm_output
from crucible_causaltrace.intervals import newcombe, wilson


def chain_of(id, *events):
    chain = Chain("t", id=id)
    chain.extend(Event(**({"id": f"n{n}", "type": "decision_made", "source": "self_report"} | e)) for n, e in enumerate(events))  # fmt: skip
    return chain


# Calibration: acceptance test 5 of the specification, a closed form.
CONFIDENCES = (0.95, 0.85, 0.85, 0.65, 0.55, 0.35, 0.32, 0.15)
OUTCOMES = (1, 1, 0, 1, 0, 0, 1, 0)


def calibrated(*more, confidences=CONFIDENCES, outcomes=OUTCOMES, **options):
    chains = [chain_of(f"c{n}", {"confidence": c}) for n, c in enumerate(confidences)]
    known = {f"c{n}": bool(o) for n, o in enumerate(outcomes)}
    return calibrate_confidence([*chains, *more], known, **options)


def test_calibration_errors_are_those_of_the_closed_form():
    found = calibrated()
    assert found.ece == pytest.approx(0.26625, abs=1e-12)
    assert found.mce == pytest.approx(0.55, abs=1e-12)
    assert found.brier == pytest.approx(0.2224875, abs=1e-12)
    assert (found.n, found.n_missing, found.n_without_outcome, found.reason) == (8, 0, 0, None)
    assert [b.n for b in found.bins] == [0, 1, 0, 2, 0, 1, 1, 0, 2, 1]
    assert found.bins[3].mean_outcome == 0.5
    assert found.bins[3].mean_confidence == pytest.approx(0.335)
    assert (found.bins[0].mean_confidence, found.bins[0].mean_outcome) == (None, None)
    assert found.low < found.ece < found.high
    assert found.to_dict()["bins"][9]["n"] == 1


def test_a_confidence_that_was_not_stated_only_counts_as_missing():
    silent = chain_of("c7", {"decision": "x"})
    plain = calibrated(confidences=CONFIDENCES[:7])
    found = calibrated(silent, confidences=CONFIDENCES[:7])
    assert (found.n_missing, plain.n_missing) == (1, 0)
    assert found.to_dict() | {"n_missing": 0} == plain.to_dict()
    unknown = calibrated(chain_of("no outcome", {"confidence": 0.5}))
    assert unknown.to_dict() | {"n_without_outcome": 0} == calibrated().to_dict()
    assert unknown.n_without_outcome == 1


def test_without_any_stated_confidence_there_is_no_error_but_a_reason():
    found = calibrate_confidence([chain_of("a", {})], {"a": True})
    assert found.ece is found.low is found.high is found.mce is found.brier is None
    assert found.reason == "no chain has both a stated confidence and a known outcome"


def test_the_confidence_of_a_chain_is_the_one_asked_for():
    chain = chain_of(
        "a", {"type": "assumption_made", "confidence": 0.2}, {"confidence": 0.9},
        {"type": "synthesis", "confidence": 0.7}, {"source": "system_observed", "confidence": 0.0},
    )  # fmt: skip

    def brier(which, chain=chain):
        return calibrate_confidence([chain], {"a": True}, which=which).brier

    assert brier("last_decision") == pytest.approx(0.01)
    assert brier("min") == pytest.approx(0.64)
    assert brier("mean") == pytest.approx(0.16)
    # The last decision states none: an earlier one's confidence is not that of the answer.
    last = chain_of("a", {"confidence": 0.9}, {"decision": "x"})
    assert brier("last_decision", last) is None
    assert brier("mean", last) == pytest.approx(0.01)


def test_bins_of_equal_numbers_keep_equal_confidences_together():
    found = calibrated(confidences=(0.1, 0.2, 0.2, 0.2, 0.9, 1.0), outcomes=(0, 1, 0, 0, 1, 1),
                       bins=3, strategy="quantile")  # fmt: skip
    assert sum(b.n for b in found.bins) == 6
    assert [b.n for b in found.bins if b.low == 0.2] == [3]
    everyone_alike = calibrated(confidences=(0.5,) * 4, outcomes=(1, 1, 0, 0), strategy="quantile")
    assert (everyone_alike.ece, len(everyone_alike.bins)) == (0.0, 1)


def test_the_interval_repeats_with_its_seed():
    assert calibrated(seed=1) == calibrated(seed=1)
    assert calibrated(seed=1) != calibrated(seed=2)


def test_the_bootstrap_covers_the_error_of_a_known_population():
    # Two bins, confidences .25 and .75, true rates .5 and .9: ECE = (.25 + .15) / 2 = .2.
    rng = random.Random(7)
    inside = 0
    for run in range(40):
        stated = [0.25, 0.75] * 60
        right = [int(rng.random() < (0.5 if c == 0.25 else 0.9)) for c in stated]
        found = calibrated(confidences=stated, outcomes=right, resamples=200, seed=run, bins=2)
        inside += found.low <= 0.2 <= found.high
    # Of 40 at 95 %: fewer than 33 has probability .0005 (binomial).
    assert inside >= 33


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20), st.integers(1, 12)
)
def test_errors_are_ordered_and_do_not_depend_on_order(pairs, bins):
    def run(pairs):
        return calibrated(confidences=[c for c, _ in pairs], outcomes=[o for _, o in pairs],
                          bins=bins, resamples=5)  # fmt: skip

    found, back = run(pairs), run(pairs[::-1])
    assert 0.0 <= found.ece <= found.mce + 1e-12 <= 1.0 + 1e-9
    assert found.ece == pytest.approx(back.ece)
    assert sum(b.n for b in found.bins) == len(pairs)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"which": "first"}, "which"), ({"strategy": "x"}, "strategy"), ({"bins": 0}, "bins"),
     ({"resamples": 0}, "resamples")],
)  # fmt: skip
def test_what_calibration_cannot_do_is_refused(options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        calibrated(**options)
    with pytest.raises(ValueError, match="twice"):
        calibrated(chain_of("c0"))


# Patterns: acceptance test 6 of the specification.


@pytest.fixture
def four():
    kinds = {
        "t": "task_decomposed",
        "h": "hypothesis_formed",
        "d": "decision_made",
        "s": "synthesis",
    }
    runs = {"1": "thd", "2": "thds", "3": "td", "4": "hd"}
    return [chain_of(id, *({"type": kinds[k]} for k in run)) for id, run in runs.items()]


def test_patterns_are_those_of_the_specification(four):
    found = mine_patterns(
        four,
        outcomes={"1": True, "2": True, "3": False, "4": True},
        min_support=0.5,
        lengths=(2, 3),
    )
    t, h, d = "task_decomposed", "hypothesis_formed", "decision_made"
    assert [(p.types, p.support, p.successes, p.n_outcomes) for p in found] == [
        ((h, d), 0.75, 3, 3), ((t, h, d), 0.5, 2, 2), ((t, h), 0.5, 2, 2),
    ]  # fmt: skip
    # Wilson 1927, as the specification gives them.
    assert [round(p.low, 6) for p in found] == [0.438503, 0.342380, 0.342380]
    assert {(p.base_rate, round(p.base_low, 6), round(p.base_high, 6)) for p in found} == {
        (0.75, 0.300642, 0.954413)
    }
    assert found[0].to_dict()["types"] == [h, d]


def test_a_pattern_counts_every_time_and_every_chain_once():
    chains = [chain_of("a", {}, {}, {}), chain_of("b", {"type": "x:y"})]
    (one,) = mine_patterns(chains, lengths=(2, 2))
    assert (one.occurrences, one.chains, one.support) == (2, 1, 0.5)
    assert one.rate is one.low is one.base_rate is one.base_low is None
    assert mine_patterns([]) == []


@pytest.mark.parametrize(
    ("options", "name"),
    [({"lengths": (0, 2)}, "lengths"), ({"lengths": (3, 2)}, "lengths"),
     ({"min_support": 0.0}, "min_support"), ({"min_support": 1.1}, "min_support")],
)  # fmt: skip
def test_what_mining_cannot_do_is_refused(options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        mine_patterns([], **options)
    with pytest.raises(ValueError, match="twice"):
        mine_patterns([chain_of("a"), chain_of("a")])


# Intervals


@pytest.mark.parametrize(
    ("numbers", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),  # Newcombe 1998, table II, example (a), method 10
        ((9, 10, 3, 10), 0.1705, 0.8090),  # example (b)
        ((6, 7, 2, 7), 0.0582, 0.8062),  # example (c)
        ((5, 56, 0, 29), -0.0381, 0.1926),  # example (d)
        ((10, 10, 0, 20), 0.6791, 1.0000),  # example (g)
        ((18, 20, 2, 20), 0.5157, 0.9020),  # the specification
    ],
)
def test_differences_have_the_intervals_of_newcombe(numbers, low, high):
    assert newcombe(*numbers) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_intervals_hold_their_share_and_turn_with_it(a, n, b, m):
    a, b = min(a, n), min(b, m)
    low, high = wilson(a, n)
    assert 0.0 <= low <= a / n <= high <= 1.0
    mirrored = wilson(n - a, n)
    assert (1.0 - mirrored[1], 1.0 - mirrored[0]) == pytest.approx((low, high))
    low, high = newcombe(a, n, b, m)
    assert -1.0 <= low <= a / n - b / m <= high <= 1.0
    assert newcombe(b, m, a, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 7), (20, 20), (11, 400)])
def test_wilson_agrees_with_scipy(k, n):
    from scipy.stats import binomtest

    expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high))


# Contradictions and problems


def contradictions(*events):
    return [(c.rule, c.first, c.second, c.option) for c in chain_of("c", *events).contradictions()]


def test_a_stated_contradiction_is_one():
    assert contradictions({}, {"decision": "No", "contradicts": ["n0"]}) == [
        ("stated", "n1", "n0", "No")
    ]


def test_what_was_turned_down_and_is_chosen_later_is_one():
    found = contradictions(
        {"decision": "Use SQLite", "alternatives": ["Post-gres!", "DuckDB"]},
        {"type": "alternative_considered", "disposition": "rejected", "decision": "Redis"},
        {"decision": "ｐｏｓｔ  GRES"},
        {"type": "synthesis", "decision": "redis", "disposition": "chosen"},
        {"decision": "use sqlite."},
    )  # fmt: skip
    # NFKC, case, white space and punctuation are folded; the way back to SQLite is none.
    assert found == [
        ("rejected_then_chosen", "n0", "n2", "Post-gres!"),
        ("rejected_then_chosen", "n1", "n3", "Redis"),
    ]


def test_a_decision_both_chosen_and_rejected_is_one_in_any_order():
    found = contradictions(
        {"decision": "Redis", "disposition": "chosen", "type": "synthesis"},
        {"decision": "redis", "disposition": "rejected", "type": "alternative_considered"},
    )
    assert found == [("chosen_and_rejected", "n0", "n1", "Redis")]


def test_different_options_do_not_contradict():
    assert contradictions({"decision": "+", "alternatives": ["-"]}, {"decision": "*"}) == []
    assert contradictions({"decision": "A", "alternatives": ["A"]}, {"decision": "A"}) == []
    assert contradictions({"type": "hypothesis_formed", "decision": "A", "alternatives": ["B"]},
                          {"decision": "B"}) == []  # fmt: skip


def test_validate_names_what_is_odd(oddities):
    found = {(p.code, p.event_id) for p in parse_llm_output(oddities, "t").validate()}
    assert found == {
        ("unknown_type", "e4"), ("unresolved_reference", "e5"), ("truncated", "e6"),
    }  # fmt: skip
    chain = chain_of(
        "c", {"time_s": 2.0}, {"time_s": 1.0, "parent": "n0", "type": "system:span"},
        {"type": "system:span", "source": "system_observed"},
    )  # fmt: skip
    assert [(p.code, p.event_id) for p in chain.validate()] == [
        ("reserved_type", "n1"), ("before_its_ground", "n1"),
    ]  # fmt: skip
    doubled = chain_of("c", {}, {})
    doubled.restore([Event(id="z", type="synthesis", source="self_report", order=1)])
    assert [p.to_dict()["code"] for p in doubled.validate()] == ["repeated_order"]

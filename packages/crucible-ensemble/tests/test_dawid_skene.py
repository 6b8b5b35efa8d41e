import numpy as np
import pytest

from crucible_ensemble.dawid_skene import dawid_skene

# Dawid and Skene 1979, table 1: 45 patients, 7 readings, the first three by observer 1.
READINGS = [
    "1111111",
    "3334334",
    "1122122",
    "2223121",
    "2223222",
    "2223322",
    "1222111",
    "3333433",
    "2222223",
    "2322223",
    "4444444",
    "2223343",
    "1111111",
    "2223212",
    "1211111",
    "1112111",
    "1111111",
    "1111111",
    "2222221",
    "2221322",
    "2222222",
    "2222221",
    "2223222",
    "2212222",
    "1111111",
    "1111111",
    "2322222",
    "1111111",
    "1111111",
    "1121121",
    "1111111",
    "3333233",
    "1111111",
    "2222222",
    "2223232",
    "4334343",
    "2212232",
    "2323233",
    "3333432",
    "1111111",
    "1111111",
    "1212111",
    "2322222",
    "1211111",
    "2222222",
]


@pytest.fixture
def patients():
    keys = np.full((45, 5, 3), None, dtype=object)
    for i, row in enumerate(READINGS):
        keys[i, 0, :] = list(row[:3])
        keys[i, 1:, 0] = list(row[3:])
    return keys


def test_the_paper_s_estimates_are_reached(patients):
    found = dawid_skene(patients, kind="full", prior=0, force=True)
    assert found.class_shares == pytest.approx((0.3996, 0.4220, 0.1118, 0.0667), abs=5e-5)
    assert found.class_shares == pytest.approx((0.40, 0.42, 0.11, 0.07), abs=0.005)  # the paper
    assert found.log_likelihood == pytest.approx(-192.8909, abs=5e-5)
    rows = [
        (0.8895, 0.1105, 0, 0),
        (0.0706, 0.8764, 0.0530, 0),
        (0, 0.3388, 0.6612, 0),
        (0, 0, 0.5556, 0.4444),
    ]
    assert np.allclose(found.confusion[0], rows, atol=5e-5)
    assert [found.answers[p - 1] for p in (2, 12, 36)] == ["4", "3", "4"]
    assert [found.majority[p - 1] for p in (2, 36)] == ["3", "3"]


def test_one_coin_accuracies_of_the_paper_s_observers(patients):
    found = dawid_skene(patients)
    assert found.accuracies == pytest.approx((0.8762, 0.6998, 0.7935, 0.8441, 0.8020), abs=5e-5)


def test_too_few_items_for_confusion_matrices_are_refused(patients):
    with pytest.raises(ValueError, match="force=True"):
        dawid_skene(patients, kind="full")
    assert dawid_skene(patients, kind="auto").kind == "one_coin"


def voters(rng, accuracies, n, k):
    truth = rng.integers(0, k, n)
    keys = np.empty((n, len(accuracies)), dtype=object)
    for j, p in enumerate(accuracies):
        wrong = (truth + rng.integers(1, k, n)) % k
        keys[:, j] = np.where(rng.random(n) < p, truth, wrong).astype(str)
    return truth.astype(str), keys


def right_share(answers, truth):
    return float(np.mean(np.array(answers) == truth))


def expected_majority(keys, truth):
    hits = 0.0
    for row, right in zip(keys.tolist(), truth.tolist(), strict=True):
        best = max(row.count(k) for k in row)
        tied = {k for k in row if row.count(k) == best}
        hits += (right in tied) / len(tied)
    return hits / len(truth)


def test_em_beats_the_majority_where_members_differ():
    # Specification, section 7, number 7: 100 runs, each share within .01.
    from crucible_ensemble.votes.weighted import log_odds_weight

    accuracies, found = [0.85, 0.7, 0.6, 0.55, 0.5], {"majority": 0.0, "em": 0.0, "oracle": 0.0}
    weights = [log_odds_weight(p, 4) for p in accuracies]
    for run in range(100):
        truth, keys = voters(np.random.default_rng(run), accuracies, 200, 4)
        found["majority"] += expected_majority(keys, truth) / 100
        found["em"] += right_share(dawid_skene(keys, classes="0123").answers, truth) / 100
        scores = np.stack([((keys == k) * weights).sum(axis=1) for k in "0123"], axis=1)
        found["oracle"] += right_share(scores.argmax(axis=1).astype(str), truth) / 100
    assert found == pytest.approx({"majority": 0.863, "em": 0.901, "oracle": 0.904}, abs=0.01)


def test_confusion_matrices_pay_where_errors_have_a_favourite():
    # 70 % of a model's errors fall on its own label.
    rng = np.random.default_rng(7)
    gains = {"full": [], "one_coin": []}
    for _ in range(10):
        truth = rng.integers(0, 4, 1000)
        keys = np.empty((1000, 5), dtype=object)
        for j, p in enumerate([0.7, 0.65, 0.6, 0.6, 0.55]):
            favourite = np.where((truth == j % 4), (truth + 1) % 4, j % 4)
            other = (truth + rng.integers(1, 4, 1000)) % 4
            wrong = np.where(rng.random(1000) < 0.7, favourite, other)
            keys[:, j] = np.where(rng.random(1000) < p, truth, wrong).astype(str)
        base = expected_majority(keys, truth.astype(str))
        for kind in gains:
            answers = dawid_skene(keys, kind=kind).answers
            gains[kind].append(right_share(answers, truth.astype(str)) - base)
    assert np.mean(gains["full"]) >= 0.06
    assert abs(np.mean(gains["one_coin"])) <= 0.02


def test_a_bad_majority_with_two_classes_sets_a_warning():
    warned = 0
    for run in range(20):
        _truth, keys = voters(np.random.default_rng(run), [0.9, 0.5, 0.5, 0.5, 0.5], 200, 2)
        warned += dawid_skene(keys).warning is not None
    assert warned >= 18
    _, fair = voters(np.random.default_rng(0), [0.75] * 5, 500, 2)
    assert dawid_skene(fair).warning is None


def test_gold_labels_are_held():
    keys = np.array([["a", "a", "b"], ["a", "b", "b"], ["a", "b", None]], dtype=object)
    found = dawid_skene(keys, gold={0: "b", 1: "b"})
    assert found.answers[:2] == ("b", "b")
    assert found.confidence[:2] == (1.0, 1.0)
    assert found.accuracies[2] > found.accuracies[0]


def test_open_answers_need_no_common_classes():
    rng = np.random.default_rng(5)
    keys = np.empty((400, 4), dtype=object)
    truth = []
    for i in range(400):
        truth.append(f"right-{i}")
        for j, p in enumerate([0.8, 0.7, 0.6, 0.5]):
            keys[i, j] = f"right-{i}" if rng.random() < p else f"wrong-{i}-{rng.integers(0, 8)}"
    found = dawid_skene(keys)
    assert found.classes is None
    assert right_share(found.answers, np.array(truth)) > expected_majority(keys, np.array(truth))
    assert found.accuracies == pytest.approx((0.8, 0.7, 0.6, 0.5), abs=0.07)
    assert found.answers == dawid_skene(keys, classes="open").answers


def test_nobody_s_answer_is_no_answer():
    keys = np.array([["a", "a"], [None, None]], dtype=object)
    found = dawid_skene(keys)
    assert found.answers == ("a", None)
    assert found.confidence[1] is None
    with pytest.raises(ValueError, match="at least one answer"):
        dawid_skene(np.array([[None, None]], dtype=object))


def test_names_and_order_of_members_play_no_part():
    _truth, keys = voters(np.random.default_rng(3), [0.8, 0.7, 0.6], 300, 3)
    found = dawid_skene(keys)
    order = [2, 0, 1]
    assert dawid_skene(keys[:, order]).accuracies == pytest.approx([found.accuracies[j] for j in order], abs=1e-6)  # fmt: skip
    names = {"0": "z", "1": "y", "2": "x"}
    renamed = np.vectorize(names.get, otypes=[object])(keys)
    again = dawid_skene(renamed)
    sure = [i for i, c in enumerate(found.confidence) if c > 0.6]
    assert [again.answers[i] for i in sure] == [names[found.answers[i]] for i in sure]

"""Who is right, and how often, when nobody knows the truth: expectation maximisation on votes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crucible_ensemble.votes.weighted import classes_from

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Kind = Literal["one_coin", "full", "auto"]
_MOST_ROUNDS = 500
_MOST_CLASSES = 64
# With two classes EM that has locked on to a wrong majority also draws the estimates together:
# simulated with true accuracies .9 .5 .5 .5 .5 they are as little as .11 apart.
_SPREAD = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DawidSkene:
    """What was inferred.

    Attributes
    ----------
    kind : {"one_coin", "full"}
    classes : tuple of str or None
        None where every item has answers of its own.
    answers : tuple of str or None
        Per item the most probable key; None where nobody answered.
    confidence : tuple of float or None
        Its posterior probability.
    posterior : tuple of mappings of key to probability
    accuracies : tuple of float
        Per member; for "full" the share of right answers under the class shares.
    class_shares : tuple of float or None
    confusion : array of shape (members, classes, classes) or None
        Rows are the truth, columns what the member says.
    log_likelihood : float
        Of the answers, without the prior.
    bic : float
    rounds : int
    majority : tuple of str or None
        Plurality per item, for comparison; ties to the smallest key.
    best_single : int or None
        The member with the highest estimated accuracy.
    warning : str or None
        Why the result should not be trusted.
    """

    kind: Literal["one_coin", "full"]
    classes: tuple[str, ...] | None
    answers: tuple[str | None, ...]
    confidence: tuple[float | None, ...]
    posterior: tuple[Mapping[str, float], ...]
    accuracies: tuple[float, ...]
    class_shares: tuple[float, ...] | None
    confusion: "np.ndarray[Any, Any] | None"
    log_likelihood: float
    bic: float
    rounds: int
    majority: tuple[str | None, ...]
    best_single: int | None
    warning: str | None


def dawid_skene(
    keys: "npt.ArrayLike",
    *,
    kind: Kind = "one_coin",
    classes: Sequence[str] | Literal["open"] | None = None,
    gold: Mapping[int, str] | None = None,
    prior: float | None = None,
    tol: float = 1e-6,
    force: bool = False,
) -> DawidSkene:
    """Infer answers and accuracies from keys alone.

    Parameters
    ----------
    keys : object array of shape (items, members) or (items, members, samples)
        Keys; None where there is no answer. Samples are repeated readings by one member.
    kind : {"one_coin", "full", "auto"}
        "one_coin": a member is right with one probability and errs uniformly over the item's
        answers. "full": a confusion matrix for each member. "auto": "full" if there are at least
        100 items per class and its BIC is lower.
    classes : sequence of str, "open" or None
        All possible answers. None takes those that occur, if they are at most 64; beyond, and with
        "open", every item has answers of its own ("one_coin" only).
    gold : mapping of item number to key, optional
        Known answers, held fixed.
    prior : float, >= 0, optional
        Pseudo-count added to each cell: by default 1 in "one_coin" (Beta(1, 1)), 0.5 / K in
        "full". 0 is maximum likelihood.
    tol : float, > 0
        Stop when no posterior changes by more, or after 500 rounds.
    force : bool
        Fit "full" on fewer than 100 items per class.

    Returns
    -------
    DawidSkene

    Raises
    ------
    ValueError
        If there are no answers, an argument is out of range, or "full" has too few items.

    Notes
    -----
    Starts from vote shares; equal answer patterns are computed once. EM can lock on to a bad
    majority: with two classes, five members of accuracies .9 .5 .5 .5 .5 it gets 59 % right where
    the majority gets 65 %. `warning` says where that threatens.

    References
    ----------
    .. [1] A. P. Dawid and A. M. Skene, JRSS C (Applied Statistics) 28(1), 20-28, 1979.
    """
    import numpy as np

    table = np.asarray(keys, dtype=object)
    if table.ndim == 2:
        table = table[:, :, None]
    if table.ndim != 3 or not table.size:
        raise ValueError(f"`keys` must have shape (items, members[, samples]), got {table.shape}")
    if kind not in ("one_coin", "full", "auto"):
        raise ValueError(f'`kind` must be "one_coin", "full" or "auto", got {kind!r}')
    if not tol > 0:
        raise ValueError(f"`tol` must be > 0, got {tol}")
    if prior is not None and not prior >= 0:
        raise ValueError(f"`prior` must be >= 0, got {prior}")
    data = _Data(table, classes, dict(gold or {}))
    if kind == "one_coin" or (kind == "auto" and data.is_open):
        return _one_coin(data, 1.0 if prior is None else prior, tol)
    if data.is_open:
        raise ValueError('`kind` must be "one_coin" where every item has answers of its own')
    k = len(data.classes)
    enough = data.n_items >= 100 * k
    if kind == "full":
        if not enough and not force:
            raise ValueError(
                f"`kind` must be one_coin unless there are {100 * k} items for {k} classes, got "
                f"{data.n_items}; force=True fits it all the same"
            )
        return _full(data, 0.5 / k if prior is None else prior, tol)
    simple = _one_coin(data, 1.0 if prior is None else prior, tol)
    if not enough:
        return simple
    rich = _full(data, 0.5 / k if prior is None else prior, tol)
    return rich if rich.bic < simple.bic else simple


class _Data:
    """Keys as numbers; equal rows once, with how often they occur."""

    def __init__(self, table: Any, classes: Any, gold: dict[int, str]) -> None:
        import numpy as np

        self.n_items, self.n_members, samples = table.shape
        flat = table.reshape(self.n_items, -1)
        known = sorted({k for k in flat.ravel().tolist() if k is not None} | set(gold.values()))
        if not known:
            raise ValueError("`keys` must hold at least one answer, got none")
        for item in gold:
            if not 0 <= item < self.n_items:
                raise ValueError(f"`gold` must name items in [0, {self.n_items}), got {item}")
        self.is_open = classes == "open" or (classes is None and len(known) > _MOST_CLASSES)
        if classes is not None and not self.is_open:
            strange = [k for k in known if k not in set(classes)]
            if strange:
                raise ValueError(f"`classes` must hold every key, got {strange[0]!r} beside them")
            known = list(classes)
        truth = np.full(self.n_items, -1, dtype=np.int64)
        self._names: list[list[str]] | None = None
        if self.is_open:
            coded, self._names = _own_numbers(flat.tolist(), gold, truth)
            k = max(2, *map(len, self._names))
        else:
            number: dict[str | None, int] = {key: n for n, key in enumerate(known)}
            number[None] = -1
            values = (number[key] for key in flat.ravel().tolist())
            coded = np.fromiter(values, dtype=np.int64).reshape(flat.shape)
            for item, key in gold.items():
                truth[item] = number[key]
            k = len(known)
        self.classes: list[str] = known
        rows = np.column_stack([coded, truth])
        # One integer per row sorts faster than rows do, where it does not overflow.
        base = k + 1
        if base ** rows.shape[1] < 2**62:
            rows_or_codes = (rows + 1) @ (base ** np.arange(rows.shape[1], dtype=np.int64))
        else:
            rows_or_codes = rows
        _, first, pattern_of, self.repeats = np.unique(
            rows_or_codes, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        self.pattern_of = pattern_of.ravel()
        self.truth = truth[first]
        patterns = coded.reshape(self.n_items, self.n_members, samples)[first]
        counts = np.zeros((len(first), self.n_members, k + 1))
        p, m = np.indices(patterns.shape[:2])
        for s in range(samples):
            np.add.at(counts, (p, m, patterns[:, :, s]), 1.0)
        self.counts = np.ascontiguousarray(counts[:, :, :k])  # -1, no answer, fell into the last
        self.votes = self.counts.sum(axis=1)
        self.silent = self.votes.sum(axis=1) == 0
        self.size = np.full(len(first), float(max(k, 2)))
        self.possible = np.ones((len(first), k), dtype=bool)
        if self.is_open:
            self.possible = self.votes > 0
            fixed = np.flatnonzero(self.truth >= 0)
            self.possible[fixed, self.truth[fixed]] = True
            # More answers are possible than were given: two who err agree by chance one time in
            # five (the mean of Beta(1, 4)), unless the item shows more of them.
            self.size = np.maximum(self.possible.sum(axis=1), classes_from(0, 0))

    def names(self, item: int) -> list[str]:
        """Return what the columns mean at an item."""
        return self.classes if self._names is None else self._names[item]


def _own_numbers(
    rows: list[list[str | None]], gold: dict[int, str], truth: Any
) -> tuple[Any, list[list[str]]]:
    """Return each item's keys numbered by first appearance, so that alike items are equal."""
    import numpy as np

    coded = np.full((len(rows), len(rows[0])), -1, dtype=np.int64)
    names: list[list[str]] = []
    for i, row in enumerate(rows):
        number: dict[str, int] = {}
        for place, key in enumerate(row):
            if key is not None:
                coded[i, place] = number.setdefault(key, len(number))
        if i in gold:
            truth[i] = number.setdefault(gold[i], len(number))
        names.append(list(number))
    return coded, names


def _one_coin(data: _Data, prior: float, tol: float) -> DawidSkene:
    """Fit one accuracy per member; errors are uniform over the other answers."""
    import numpy as np

    counts, weight = data.counts, data.repeats.astype(float)
    n_patterns, n_members, k = counts.shape
    by_key = np.ascontiguousarray(counts.transpose(0, 2, 1)).reshape(-1, n_members)
    answered = counts.sum(axis=2)  # (patterns, members)
    said = weight @ answered
    clamp = _clamped(data)
    spread = np.log(data.size - 1.0)
    bonus = np.where(data.possible, data.votes * spread[:, None], -np.inf)
    start = np.where(data.silent[:, None], 1.0, data.votes)
    belief = clamp(_rows(np.where(data.possible, start, 0.0)))
    accuracy = safe = np.zeros(n_members)
    score = bonus
    rounds = 0
    for rounds in range(1, _MOST_ROUNDS + 1):  # noqa: B007 - counted
        right = by_key.T @ (belief * weight[:, None]).ravel()
        accuracy = (right + prior) / np.maximum(said + 2 * prior, 1e-300)
        safe = np.clip(accuracy, 1e-12, 1 - 1e-12)
        score = (by_key @ (np.log(safe) - np.log1p(-safe))).reshape(n_patterns, k) + bonus
        new = clamp(_softmax(score))
        change = float(np.abs(new - belief).max())
        belief = new
        if change <= tol:
            break
    wrong = answered @ np.log1p(-safe) - answered.sum(axis=1) * spread
    log_likelihood = float(weight @ (_logsumexp(score + wrong[:, None]) - np.log(data.size)))
    return _result(data, "one_coin", belief, accuracy, log_likelihood, rounds, parameters=n_members)


def _full(data: _Data, prior: float, tol: float) -> DawidSkene:
    import numpy as np

    counts, weight = data.counts, data.repeats.astype(float)
    n_patterns, n_members, k = counts.shape
    clamp = _clamped(data)
    belief = clamp(_rows(np.where(data.silent[:, None], 1.0, data.votes)))
    flat = counts.reshape(n_patterns, n_members * k)
    score, shares, confusion = belief, np.zeros(k), np.zeros((n_members, k, k))
    rounds = 0
    for rounds in range(1, _MOST_ROUNDS + 1):  # noqa: B007 - counted
        weighted = belief * weight[:, None]  # (patterns, classes)
        shares = weighted.sum(axis=0) / weight.sum()
        table = (weighted.T @ flat).reshape(k, n_members, k).transpose(1, 0, 2) + prior
        rows = table.sum(axis=2, keepdims=True)
        confusion = np.divide(table, rows, out=np.full_like(table, 1.0 / k), where=rows > 0)
        with np.errstate(divide="ignore"):
            logs = np.log(confusion).transpose(0, 2, 1).reshape(n_members * k, k)
            log_shares = np.log(shares)
        # 0 log 0 is 0: an answer that was never given says nothing.
        score = flat @ np.maximum(logs, -1e6) + np.maximum(log_shares, -1e6)
        new = clamp(_softmax(score))
        change = float(np.abs(new - belief).max())
        belief = new
        if change <= tol:
            break
    log_likelihood = float(weight @ _logsumexp(score))
    accuracy = np.einsum("k,mkk->m", shares, confusion)
    return _result(
        data, "full", belief, accuracy, log_likelihood, rounds,
        parameters=n_members * k * (k - 1) + k - 1, confusion=confusion, shares=shares,
    )  # fmt: skip


def _result(
    data: _Data,
    kind: Literal["one_coin", "full"],
    belief: Any,
    accuracy: Any,
    log_likelihood: float,
    rounds: int,
    *,
    parameters: int,
    confusion: Any = None,
    shares: Any = None,
) -> DawidSkene:
    import numpy as np

    top = belief.max(axis=1, keepdims=True)
    first = belief >= top - 1e-12
    lead = data.votes == data.votes.max(axis=1, keepdims=True)
    per_pattern = [
        _Read(
            silent=bool(data.silent[p]) and data.truth[p] < 0,
            first=np.flatnonzero(first[p]).tolist(),
            lead=[] if data.silent[p] else np.flatnonzero(lead[p]).tolist(),
            seen=[(n, float(belief[p, n])) for n in np.flatnonzero(belief[p] > 0).tolist()],
            confidence=float(top[p, 0]),
        )
        for p in range(len(belief))
    ]
    of = data.pattern_of.tolist()
    if data.is_open:
        read = [per_pattern[p].named(data.names(item)) for item, p in enumerate(of)]
    else:  # equal patterns mean equal answers
        known = [pattern.named(data.classes) for pattern in per_pattern]
        read = [known[p] for p in of]
    answers, confidence, majority, posteriors = zip(*read, strict=True)
    bic = parameters * float(np.log(data.n_items)) - 2 * log_likelihood
    return DawidSkene(
        kind=kind,
        classes=None if data.is_open else tuple(data.classes),
        answers=answers,
        confidence=confidence,
        posterior=posteriors,
        accuracies=tuple(float(a) for a in accuracy),
        class_shares=None if shares is None else tuple(float(s) for s in shares),
        confusion=confusion,
        log_likelihood=log_likelihood,
        bic=bic,
        rounds=rounds,
        majority=majority,
        best_single=int(np.argmax(accuracy)) if len(accuracy) else None,
        warning=_warning(data, accuracy),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What was inferred about one pattern, before its columns have names."""

    silent: bool
    first: list[int]
    lead: list[int]
    seen: list[tuple[int, float]]
    confidence: float

    def named(
        self, names: Sequence[str]
    ) -> tuple[str | None, float | None, str | None, Mapping[str, float]]:
        majority = min((names[n] for n in self.lead), default=None)
        if self.silent:
            return None, None, majority, {}
        answer = min(names[n] for n in self.first)
        return answer, self.confidence, majority, {names[n]: p for n, p in self.seen}


def _warning(data: _Data, accuracy: Any) -> str | None:
    if float(accuracy.max()) > 0.99:
        return (
            f"member {int(accuracy.argmax())} is estimated at {float(accuracy.max()):.3f}: EM may "
            "have taken one member for the truth; compare `majority`"
        )
    spread = float(accuracy.max() - accuracy.min())
    if len(data.classes) == 2 and data.n_members <= 5 and spread > _SPREAD:
        return (
            f"two classes, {data.n_members} members and accuracies {spread:.2f} apart: EM may have "
            "locked on to a bad majority; compare `majority`"
        )
    return None


def _clamped(data: _Data) -> Any:
    import numpy as np

    fixed = np.flatnonzero(data.truth >= 0)

    def clamp(belief: Any) -> Any:
        if len(fixed):
            belief[fixed] = 0.0
            belief[fixed, data.truth[fixed]] = 1.0
        return belief

    return clamp


def _rows(values: Any) -> Any:
    import numpy as np

    whole = values.sum(axis=1, keepdims=True)
    return np.divide(values, whole, out=np.zeros_like(values, dtype=float), where=whole > 0)


def _softmax(score: Any) -> Any:
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        top = score.max(axis=1, keepdims=True)
        parts = np.exp(score - np.where(np.isfinite(top), top, 0.0))
    return _rows(parts)


def _logsumexp(score: Any) -> Any:
    import numpy as np

    top = score.max(axis=1)
    top = np.where(np.isfinite(top), top, 0.0)
    return top + np.log(np.exp(score - top[:, None]).sum(axis=1))

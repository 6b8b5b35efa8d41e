"""Metrics by name."""

import difflib
import re
from collections.abc import Callable, Mapping

from crucible_datasets.metrics import claims, exact, squad, text
from crucible_datasets.metrics.metric import Measure


def _codebleu() -> Measure:
    from crucible_datasets.metrics import codebleu

    return codebleu.measure()


_FEVER = ("label_accuracy", "evidence_precision", "evidence_recall", "evidence_f1", "fever_score")
# Made when asked for: some need an extra.
_MAKE: Mapping[str, Callable[[], Measure]] = {
    "exact_match": lambda: Measure(name="exact_match", item=exact.exact_match),
    "f1": lambda: Measure(name="f1", item=squad.f1),
    "precision": lambda: Measure(name="precision", item=squad.precision),
    "recall": lambda: Measure(name="recall", item=squad.recall),
    "macro_f1": lambda: Measure(name="macro_f1", corpus=exact.macro_f1),
    "balanced_accuracy": lambda: Measure(name="balanced_accuracy", corpus=exact.balanced_accuracy),
    "bleu": text.bleu,
    "chrf": text.chrf,
    "codebleu": _codebleu,
    "scifact": lambda: Measure(name="scifact", corpus=claims.scifact),
    **{name: (lambda name=name: text.rouge(name)) for name in text.ROUGE},  # type: ignore[misc]
    **{
        name: (lambda name=name: Measure(name=name, corpus=claims.fever))  # type: ignore[misc]
        for name in _FEVER
    },
}
NAMES = frozenset(_MAKE)
_PASS = re.compile(r"pass@([1-9]\d{0,4})")


def k_of(name: str) -> int | None:
    """Return the k of "pass@k", None for any other name."""
    match = _PASS.fullmatch(name)
    return int(match[1]) if match else None


def check_name(name: str) -> None:
    """Refuse an unknown name.

    Raises
    ------
    ValueError
        With the names that there are.
    """
    if name in _MAKE or k_of(name) is not None:
        return
    near = difflib.get_close_matches(name, _MAKE, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    known = ", ".join((*sorted(_MAKE), "pass@k"))
    raise ValueError(f"`metrics` must be among {known}, got {name!r}{hint}")


def named(name: str) -> Measure:
    """Return a metric by name.

    Raises
    ------
    MissingExtraError
        If it needs a package that is not installed.
    """
    return _MAKE[name]()

"""Contrasts over the factors of a design, as one weight for each condition."""

from collections.abc import Mapping, Sequence
from typing import Any

from crucible_harness.claims import Contrast, Hypothesis
from crucible_harness.contrasts import trend_weights
from crucible_harness.designs import Level


def weights_of(
    hypothesis: Hypothesis,
    conditions: Mapping[str, Mapping[str, Any]],
    factors: Mapping[str, Sequence[Level]],
) -> dict[str, float]:
    """Return the weight of each condition; other factors are averaged over.

    Parameters
    ----------
    conditions : mapping of condition to its factors
    factors : mapping of factor to its levels, the reference first

    Notes
    -----
    Main effect: mean at the treatment level minus mean at the control level. Interaction of A and
    B: (A1B1 - A0B1) - (A1B0 - A0B0), where A0 and B0 are the references. Trend:
    least-squares slope over the levels.
    """
    about = hypothesis.factors
    per_level: dict[tuple[str | None, ...], float]
    if hypothesis.contrast == "main_effect":
        per_level = {(hypothesis.treatment,): 1.0, (hypothesis.control,): -1.0}
    elif hypothesis.contrast == "trend":
        levels = factors[about[0]]
        slopes = trend_weights(tuple(float(level) for level in levels))
        per_level = {(str(level),): w for level, w in zip(levels, slopes, strict=True)}
    else:
        (a0, *a), (b0, *b) = (list(map(str, factors[name])) for name in about)
        a1, b1 = map(str, hypothesis.levels or (a[0], b[0]))
        per_level = {(a1, b1): 1.0, (a0, b1): -1.0, (a1, b0): -1.0, (a0, b0): 1.0}
    places = {name: tuple(str(at[f]) for f in about) for name, at in conditions.items()}
    sharing = len(places) / len(set(places.values()))
    return {name: per_level.get(place, 0.0) / sharing for name, place in places.items()}


def contrasts_over(
    factors: Mapping[str, Sequence[Level]], *, metric: str, sesoi: float, trend: bool
) -> tuple[Hypothesis, ...]:
    """Name every main effect against the reference level, and every interaction of two factors.

    Of more levels than two, each is set against the reference; `trend` asks for slopes instead.
    """

    def ask(
        id: str,
        contrast: Contrast,
        about: tuple[str, ...],
        treatment: str | None = None,
        control: str | None = None,
        levels: tuple[Level, ...] = (),
    ) -> Hypothesis:
        return Hypothesis(
            id=id,
            metric=metric,
            contrast=contrast,
            factors=about,
            sesoi=sesoi,
            direction="two-sided",
            kind="exploratory",
            family="exploratory",
            treatment=treatment,
            control=control,
            levels=levels,
        )

    if trend:
        return tuple(ask(f"slope over {name}", "trend", (name,)) for name in factors)
    found = [
        ask(f"{name}: {level} vs {levels[0]}", "main_effect", (name,),
            str(level), str(levels[0]))
        for name, levels in factors.items()
        for level in levels[1:]
    ]  # fmt: skip
    names = list(factors)
    for a, b in ((a, b) for n, a in enumerate(names) for b in names[n + 1 :]):
        several = max(len(factors[a]), len(factors[b])) > 2
        found += [
            ask(f"{a} x {b}: {one}, {other}" if several else f"{a} x {b}", "interaction", (a, b),
                levels=(one, other) if several else ())
            for one in factors[a][1:]
            for other in factors[b][1:]
        ]  # fmt: skip
    return tuple(found)

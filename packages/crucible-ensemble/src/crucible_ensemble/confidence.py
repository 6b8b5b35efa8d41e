"""How sure an answer is of being right."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crucible_ensemble.completion import Completion
from crucible_ensemble.model import Verifier

ConfidenceName = Literal["reported", "logprobs", "verbalised", "self_consistency"]
_STATED = re.compile(
    r"(?i)\b(?:confidence|certainty|probability|sure)\b[^\d\n%]{0,40}?"
    r"(?P<number>\d{1,3}(?:\.\d+)?)\s*(?P<unit>%|percent\b|/\s*100\b|/\s*10\b)?"
)
_ALONE = re.compile(r"^\s*(?P<number>\d{1,3}(?:\.\d+)?)\s*(?P<unit>%|percent\b|/\s*100\b|/\s*10\b)?\s*$")  # fmt: skip # noqa: E501
_OBJECT = re.compile(r"\{[^{}]{0,2000}\}")


@dataclass(frozen=True, slots=True)
class Verified:
    """Confidence from a verifier, which is asked about every answer."""

    verifier: Verifier


ConfidenceSource = ConfidenceName | Callable[[Completion], float | None] | Verified


def logprob_confidence(completion: Completion) -> float | None:
    """Return exp of the mean log-probability of the chosen tokens; None without them.

    Notes
    -----
    The geometric mean of the token probabilities: how usual the wording is, not how true the
    answer. Calibrate it before you weigh by it.
    """
    if not completion.logprobs:
        return None
    return math.exp(min(0.0, math.fsum(completion.logprobs) / len(completion.logprobs)))


def option_confidence(completion: Completion, options: Sequence[str]) -> Mapping[str, float] | None:
    """Return the probability of each option letter at the token that answers, adding to 1.

    Parameters
    ----------
    completion : Completion
        With `top_logprobs`.
    options : sequence of str
        Such as "ABCD".

    Returns
    -------
    mapping or None
        From the last token that is an option; None if there is none or alternatives are missing.
    """
    if not completion.top_logprobs:
        return None
    wanted = {option.casefold(): option for option in options}
    for place in reversed(completion.top_logprobs):
        if not place:
            continue
        likely = max(place, key=lambda token: place[token])
        if likely.strip(" \n\t.():*").casefold() not in wanted:
            continue
        found: dict[str, float] = {}
        for token, logprob in place.items():
            letter = wanted.get(token.strip(" \n\t.():*").casefold())
            if letter is not None:
                found[letter] = found.get(letter, 0.0) + math.exp(logprob)
        whole = math.fsum(found.values())
        return {option: found.get(option, 0.0) / whole for option in options}
    return None


def verbalised_confidence(text: str) -> float | None:
    """Return the confidence that a text states; None if it states none.

    Notes
    -----
    Read are a JSON field "confidence", "confidence: 85%", "85/100", "0.85"; the last one counts.
    A number above 1 without a unit is no probability, and None.

    Examples
    --------
    >>> verbalised_confidence("The answer is 7. Confidence: 85%")
    0.85
    """
    for match in reversed(_OBJECT.findall(text)):
        try:
            data = json.loads(match)
        except ValueError:
            continue
        value = data.get("confidence") if isinstance(data, dict) else None
        if isinstance(value, str):
            stated = _ALONE.match(value)
            return None if stated is None else _probability(stated)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) if 0 <= value <= 1 else None
    matches = list(_STATED.finditer(text))
    stated = matches[-1] if matches else _ALONE.match(text)
    return None if stated is None else _probability(stated)


def _probability(match: re.Match[str]) -> float | None:
    number, unit = float(match["number"]), (match["unit"] or "").replace(" ", "").casefold()
    value = number / {"%": 100, "percent": 100, "/100": 100, "/10": 10}.get(unit, 1)
    return value if 0 <= value <= 1 else None


def confidence_of(
    completion: Completion,
    source: ConfidenceSource | None,
    *,
    key: str | None = None,
    letters: str = "",
) -> float | None:
    """Return the raw confidence of an answer from a source; None where there is none.

    Parameters
    ----------
    key, letters : str, optional
        The letter that was answered, of those that were to choose from: "logprobs" is then the
        probability of that letter among them, where the model gave alternatives.
    """
    if source is None or source == "reported":
        return completion.confidence
    if source == "logprobs":
        shares = option_confidence(completion, letters) if key is not None and letters else None
        return logprob_confidence(completion) if shares is None else shares.get(str(key))
    if source == "verbalised":
        return verbalised_confidence(completion.text)
    if isinstance(source, str):  # "self_consistency" is a matter of all samples together
        return None
    if isinstance(source, Verified):
        return completion.confidence if completion.confidence_source == "verifier" else None
    return source(completion)

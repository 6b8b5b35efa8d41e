"""Which letter a model chose; several letters without a verdict are no answer."""

import re
from collections.abc import Sequence

Found = tuple[str | None, str, tuple[int, int] | None, bool]

# Words that can follow the letter A, but not the article.
_AFTER_A = (
    r"and|are|as|because|but|by|due|except|for|from|if|in|instead|is|it|not|of|on|only|or|rather|"
    r"since|so|that|the|thus|was|where|which|while|with|would"
)
_ARTICLE = re.compile(rf"\s+(?!(?:{_AFTER_A})\b)[a-z]")
_OTHER = re.compile(r"[)\].:]?\s{0,3}(?:or|and|/|,|&)\s{0,3}[(\[]?([A-Z])(?!\w)")


def letter(text: str, choices: Sequence[str] | None) -> Found:
    """Return letter, rule, place, and whether several were named without a choice.

    Parameters
    ----------
    text : str
        Already normalised.
    choices : sequence of str, optional
        Texts of the choices; without them there are four.
    """
    n = 4 if choices is None else len(choices)
    capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: max(1, min(n, 26))]
    either = f"A-{capitals[-1]}a-{capitals[-1].lower()}"
    one = f"[A-{capitals[-1]}]"
    text = text.translate({ord("*"): " ", ord("`"): " ", ord("_"): " "})

    whole = re.compile(rf"\s*[(\[]?([{either}])[)\]]?[.:]?\s*").fullmatch(text)
    if whole is not None:
        return whole[1].upper(), "whole answer", whole.span(1), False

    said = re.compile(
        rf"\\boxed\s?\{{\s?(?:\\text\s?\{{)?\s?\(?(?P<boxed>[{either}])\)?\s?\}}"
        rf"|(?i:\banswer\s{{0,3}}(?:is|:|=))[:\s]{{0,3}}(?i:(?:the\s)?(?:option|choice)\s)?"
        rf"(?:[(\[](?P<bracketed>[{either}])[)\]]|(?P<bare>{one})(?!\w))"
    )
    last: Found | None = None
    for match in said.finditer(text):
        group = str(match.lastgroup)
        chosen = match[group].upper()
        if group == "bare" and _is_article(text, chosen, match.end()):
            continue
        other = _OTHER.match(text, match.end())
        if other is not None and other[1] in capitals and other[1] != chosen:
            last = None, "answer is", None, True
        else:
            method = "boxed" if group == "boxed" else "answer is"
            last = chosen, method, match.span(group), False
    if last is not None:
        return last

    option = re.compile(rf"(?i:\b(?:option|choice)\s{{0,3}}(?:is|:)?)\s{{0,3}}[(\[]?({one})(?!\w)")
    named = [m for m in option.finditer(text) if not _is_article(text, m[1], m.end())]
    if len({m[1] for m in named}) == 1:
        return named[0][1], "option", named[0].span(1), False

    label = re.compile(rf"(?m)^[ \t]*[(\[]?({one})[)\].:]")
    labels = [*label.finditer(text)]
    if labels:
        if len({m[1] for m in labels}) > 1:
            return None, "none", None, True
        return labels[0][1], "line label", labels[0].span(1), False

    contained = _contained(text, choices or ())
    if len(contained) > 1:
        return None, "none", None, True
    if contained:
        place, span = contained[0]
        return capitals[place], "choice text", span, False

    lone = re.compile(rf"(?<![\w'’-])({one})(?![\w'’-])")
    capitals_found = [m for m in lone.finditer(text) if not _is_article(text, m[1], m.end())]
    distinct = {m[1] for m in capitals_found}
    if len(distinct) == 1:
        return capitals_found[0][1], "lone capital", capitals_found[0].span(1), False
    return None, "none", None, len(distinct) > 1


def _is_article(text: str, found: str, end: int) -> bool:
    """Say whether an A starts a noun phrase, or an I a sentence."""
    return found in "AI" and _ARTICLE.match(text, end) is not None


def _contained(text: str, choices: Sequence[str]) -> list[tuple[int, tuple[int, int]]]:
    """Return the choices whose text is there, unless only inside a longer one that is."""
    lower = text.lower()
    spans: dict[int, list[tuple[int, int]]] = {}
    for place, choice in enumerate(choices[:26]):
        words = choice.lower().strip(" .")
        if not words:
            continue
        found, start = [], lower.find(words)
        while start >= 0:
            end = start + len(words)
            if _apart(lower, start - 1, start) and _apart(lower, end - 1, end):
                found.append((start, end))
            start = lower.find(words, end)
        if found:
            spans[place] = found
    kept = []
    for place, found in spans.items():
        longer = [s for other, at in spans.items() if other != place for s in at]
        free = [
            (a, b) for a, b in found
            if not any(c <= a and b <= d and d - c > b - a for c, d in longer[:64])
        ]  # fmt: skip
        if free:
            kept.append((place, free[0]))
    return kept


def _apart(text: str, left: int, right: int) -> bool:
    """Say whether two neighbouring places do not belong to one word."""
    if left < 0 or right >= len(text):
        return True
    return not (text[left].isalnum() and text[right].isalnum())

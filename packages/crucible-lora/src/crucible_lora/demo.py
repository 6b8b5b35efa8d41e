"""Generated tasks for trying things out; every item says that it is generated."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

_ITEMS = (
    "green tea", "olive oil", "red apples", "coffee beans", "white rice", "dark chocolate",
    "sea salt", "brown sugar", "orange juice", "black pepper", "fresh bread", "goat cheese",
    "maple syrup", "almond milk", "tomato soup", "lemon cake",
)  # fmt: skip
_CITIES = (
    "Lisbon", "Oslo", "Vienna", "Madrid", "Dublin", "Prague", "Athens", "Warsaw", "Berlin", "Rome",
    "Helsinki", "Zurich",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NAMES = ("Maria", "Ivan", "Chen", "Aisha", "Tom", "Lena", "Omar", "Sofia")
_FORMS = (
    "Please send {q} boxes of {i} to {n} in {c} by {d}.",
    "{n} from {c} needs {q} packs of {i} delivered on {d}.",
    "Order for {c}: {i}, {q} units, {d} at the latest, ask for {n}.",
    "Hi, could we get {i} x {q} to our {c} shop on {d}? Thanks, {n}",
)
_UNSEEN_FORM = "By {d} we want {q} crates of {i} at the {c} office, contact {n}."
_SUPPORTS = ("confirmed", "supported", "shown", "proved", "found")
_REFUTES = ("refuted", "rejected", "disproved", "denied", "contradicted")
_SUBJECTS = (
    "vitamin D", "aspirin", "green tea", "zinc", "caffeine", "sleep", "exercise", "garlic",
)  # fmt: skip
_OBJECTS = ("bone loss", "fever", "stress", "colds", "headache", "memory", "pain", "fatigue")
ORDERS_SYSTEM = "Reply with one JSON object: item, quantity, city, day."


def demo_orders(n: int, *, seed: int = 0, held_out: bool = False) -> list[dict[str, Any]]:
    """Return orders as sentences, and each as a JSON object with item, quantity, city and day.

    Parameters
    ----------
    n : int, >= 1
    seed : int
    held_out : bool
        Pairs of item and city that training items never have, one of five forms of sentence
        unknown to them too.
    """
    _check(n)
    forms = (*_FORMS, _UNSEEN_FORM) if held_out else _FORMS
    sizes = (len(_ITEMS), len(_CITIES), len(_DAYS), len(_NAMES), 89, len(forms))
    items: list[dict[str, Any]] = []
    for draw in _draws("orders", seed=seed, held_out=held_out, sizes=sizes):
        i, c, d, name, q, form = draw
        if ((i + c) % 5 == 0) is not held_out:
            continue
        text = forms[form].format(i=_ITEMS[i], c=_CITIES[c], d=_DAYS[d], n=_NAMES[name], q=q + 2)
        answer = {"item": _ITEMS[i], "quantity": q + 2, "city": _CITIES[c], "day": _DAYS[d]}
        items.append(_item("orders", len(items), seed, held_out, text, answer))
        if len(items) == n:
            break
    return items


def orders_schema() -> dict[str, Any]:
    """Return the JSON schema of an order."""
    return {
        "type": "object",
        "properties": {
            "item": {"type": "string"},
            "quantity": {"type": "integer"},
            "city": {"type": "string"},
            "day": {"enum": list(_DAYS)},
        },
        "required": ["item", "quantity", "city", "day"],
        "additionalProperties": False,
    }


def demo_findings(n: int, *, seed: int = 0, held_out: bool = False) -> list[dict[str, Any]]:
    """Return findings as sentences, and each as a JSON object with verdict and source.

    Parameters
    ----------
    n : int, in [1, 4320]; held out [1, 1440]
    seed : int
    held_out : bool
        Pairs of subject and object that training items never have.
    """
    most = 1440 if held_out else 4320
    if not 1 <= n <= most:
        raise ValueError(f"`n` must be in [1, {most}], got {n}")
    verbs = _SUPPORTS + _REFUTES
    sizes = (9, len(verbs), len(_SUBJECTS), len(_OBJECTS))
    items: list[dict[str, Any]] = []
    for draw in _draws("findings", seed=seed, held_out=held_out, sizes=sizes):
        k, verb, subject, object_ = draw
        if ((subject + object_) % 4 == 0) is not held_out:
            continue
        text = (
            f"[{k + 1}] Study {verbs[verb]} that {_SUBJECTS[subject]} reduces "
            f"{_OBJECTS[object_]}.\n"
        )
        verdict = "SUPPORTS" if verb < len(_SUPPORTS) else "REFUTES"
        answer = {"verdict": verdict, "source": k + 1}
        items.append(_item("findings", len(items), seed, held_out, text, answer))
        if len(items) == n:
            break
    return items


def findings_schema() -> dict[str, Any]:
    """Return the JSON schema of a finding."""
    return {
        "type": "object",
        "properties": {
            "verdict": {"enum": ["SUPPORTS", "REFUTES"]},
            "source": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["verdict", "source"],
        "additionalProperties": False,
    }


def _draws(
    task: str, *, seed: int, held_out: bool, sizes: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Yield different tuples of indices, each a function of the seed by hash."""
    seen = set()
    for number in itertools.count():
        digest = hashlib.sha256(f"{task}\x1f{seed}\x1f{held_out}\x1f{number}".encode()).digest()
        rest, draw = int.from_bytes(digest, "big"), []
        for size in sizes:
            rest, index = divmod(rest, size)
            draw.append(index)
        if tuple(draw) not in seen:
            seen.add(tuple(draw))
            yield tuple(draw)


def _item(
    task: str, number: int, seed: int, held_out: bool, text: str, answer: dict[str, Any]
) -> dict[str, Any]:
    part = "held-out" if held_out else "train"
    return {
        "id": f"demo-{task}/{part}/{seed}/{number}",
        "input": text,
        "expected": json.dumps(answer),
        "metadata": {"generated": True, "task": task, "split": part},
    }


def _check(n: int) -> None:
    if n < 1:
        raise ValueError(f"`n` must be >= 1, got {n}")

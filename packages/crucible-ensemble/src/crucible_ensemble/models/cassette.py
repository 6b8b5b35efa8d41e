"""Recorded answers: the same requests give the same answers, without a network or a bill."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import CassetteMissError
from crucible_ensemble.model import Model, Prompt
from crucible_ensemble.requests import is_repeatable, key_of, request_of
from crucible_ensemble.spans import generate_span

SCHEMA = "crucible-ensemble/cassette/1"


class CassetteModel:
    """Replays, or records, the answers of one model in a JSON Lines file.

    Parameters
    ----------
    model : Model or None
        What is recorded; None in mode "replay".
    path : path of the cassette
    mode : {"replay", "record", "auto"}
        "record" asks the model every time, "auto" only for what the cassette does not hold.

    Notes
    -----
    A request is keyed by model, messages and options. Requests without a seed at a temperature
    above 0 get an occurrence number, so that the second is answered by the second recording. A
    replayed answer keeps its cost and latency and adds nothing to the bill. Lines are written as
    answers arrive; a torn last line is ignored. The first line says which options the model takes,
    so that an ensemble asks the recording for what it asked the model.

    Raises
    ------
    ValueError
        For an unknown mode, no model to record, a file of another kind or of another model.
    FileNotFoundError
        In mode "replay", if there is no cassette.
    """

    def __init__(
        self,
        model: Model | None,
        path: Path | str,
        *,
        mode: Literal["replay", "record", "auto"] = "replay",
        name: str | None = None,
    ) -> None:
        if mode not in ("replay", "record", "auto"):
            raise ValueError(f'`mode` must be "replay", "record" or "auto", got {mode!r}')
        if model is None and mode != "replay":
            raise ValueError(f"`model` must be given in mode {mode!r}")
        self.path = Path(path)
        if mode == "replay" and not self.path.is_file():
            raise FileNotFoundError(f"no cassette {self.path}")
        self.mode = mode
        self._model = model
        tape = _read(self.path)
        self._answers, self._requests, self._asked = tape.answers, tape.requests, dict[str, int]()
        self.name = name or str(getattr(model, "name", tape.model or self.path.stem))
        self._recorded = tape.model or self.name
        if model is not None and self._recorded != self.name:
            raise ValueError(f"`path` must be a tape of {self.name!r}, {self.path.name} is one of {tape.model!r}")  # noqa: E501 # fmt: skip
        supports = getattr(model, "supports", tape.supports)
        if supports is not None:
            self.supports = frozenset(supports) - {"stream"}

    def __repr__(self) -> str:
        return f"CassetteModel({self.name!r}, {self.path.name!r}, mode={self.mode!r})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design: the recorded model."""
        return {"model": self.name, "cassette": True}

    async def aclose(self) -> None:
        """Close the model that is recorded."""
        close = getattr(self._model, "aclose", None)
        if close is not None:
            await close()

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer from the cassette, or ask and record.

        Raises
        ------
        CassetteMissError
            In mode "replay", if the request was not recorded.
        """
        request = request_of(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )
        key = key_of({**request, "model": self._recorded})
        if not is_repeatable(request):
            number = self._asked.get(key, 0)
            self._asked[key] = number + 1
            key = f"{key}-{number}"
        if self.mode != "record" and key in self._answers:
            with generate_span(self.name, system="cassette") as span:
                return span.answered(
                    replace(Completion.from_dict(self._answers[key]), cached=True, billed_usd=0.0)
                )
        if self.mode == "replay" or self._model is None:
            raise CassetteMissError(
                f"{self.path.name} holds no answer to {_shorten(request)}; "
                f"{_nearest(request, self._requests)}",
                model=self.name,
                cost_usd=0.0,
            )
        answer = await self._model.generate(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )
        completion = Completion.of(answer, model=self.name)
        self._record(key, request, completion)
        return completion

    def _first_line(self) -> dict[str, Any]:
        line: dict[str, Any] = {"schema": SCHEMA, "model": self.name}
        supports = getattr(self, "supports", None)
        return line if supports is None else {**line, "supports": sorted(supports)}

    def _record(self, key: str, request: dict[str, Any], completion: Completion) -> None:
        self._answers[key] = completion.to_dict()
        self._requests.append(request)
        line = {"key": key, "request": request, "completion": completion.to_dict()}
        new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as file:
            if new:
                file.write(json.dumps(self._first_line()) + "\n")
            file.write(json.dumps(line, sort_keys=True) + "\n")


@dataclass(slots=True)
class _Tape:
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    model: str | None = None
    supports: list[str] | None = None


def _read(path: Path) -> _Tape:
    tape = _Tape()
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break  # torn by a crash while it was written
            raise ValueError(f"{path}, line {number}: not JSON") from None
        if number == 1 and "schema" in row:
            if row["schema"] != SCHEMA:
                raise ValueError(f"{path}: schema {row['schema']!r}, expected {SCHEMA!r}")
            tape.model, tape.supports = row.get("model"), row.get("supports")
            continue
        tape.answers[row["key"]] = row["completion"]
        tape.requests.append(row["request"])
    return tape


def _shorten(request: dict[str, Any]) -> str:
    last = request["messages"][-1]["content"]
    options = {k: v for k, v in request.items() if k != "messages"}
    return f"{last[:80]!r} with {options}"


def _nearest(request: dict[str, Any], recorded: list[dict[str, Any]]) -> str:
    """Say how the most similar recorded request differs."""
    if not recorded:
        return "it is empty"
    said = request["messages"][-1]["content"]

    def likeness(other: dict[str, Any]) -> tuple[int, float]:
        text = other["messages"][-1]["content"]
        same = sum(request[k] == other[k] for k in request)
        matcher = difflib.SequenceMatcher(a=said[:500], b=text[:500], autojunk=False)
        return same, matcher.quick_ratio()

    near = max(recorded, key=likeness)
    parts = [
        f"{k} is {near[k]!r} there" for k in request if k != "messages" and request[k] != near[k]
    ]
    if request["messages"] != near["messages"]:
        parts.append(f"its prompt is {near['messages'][-1]['content'][:80]!r}")
    if not parts:
        return "the same request was recorded, but not as often"
    return f"of its {len(recorded)} the nearest differs: {'; '.join(parts)}"

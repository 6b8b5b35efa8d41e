"""A model that may call functions before it answers, within limits that are never silent."""

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from crucible_ensemble import Completion, Model
from crucible_ensemble.model import Prompt as ModelPrompt
from crucible_ensemble.prompts import to_messages
from crucible_ensemble.seeds import derive
from crucible_harness.fingerprints import of_function

Tool = Callable[..., Any]

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_CHARACTERS_PER_TOKEN = 3  # where a model reports no tokens
_HOW = (
    "You can call functions. To call one, reply with one JSON object and nothing else: "
    '{"tool": "<name>", "arguments": {"<parameter>": <value>}}. The result comes in the next '
    "message. Any other reply is your final answer.\n\nFunctions:\n"
)


class ToolLoop:
    """A model with functions, which is a model itself.

    Parameters
    ----------
    model : Model
    tools : sequence of functions
        Sync (run in a worker thread) or async, with annotated parameters: arguments are validated
        against the signature. Name, signature and docstring are shown to the model.
    max_turns : int, >= 1
        Replies of the model.
    max_calls : int, >= 1
        Calls of functions.
    max_tokens_total : int, >= 1
        Of all turns together; where tokens are unknown, one for 3 characters is counted.
    max_s : float, > 0
        Seconds from the first request.
    fingerprint : str, optional
        Identity in the design's hash, for tools whose source cannot be hashed.

    Notes
    -----
    A reply that is one JSON object `{"tool": ..., "arguments": {...}}`, alone or in a fence, is a
    call. An unknown name, arguments that do not fit and a function that raises are told to the
    model. Each turn is a call of its own, journaled and billed. A limit ends the loop with finish
    "limit", the name of the limit in `extra`, and the text of the last reply.

    Raises
    ------
    ValueError
        If there is no tool, two have one name, or a limit is out of range.
    """

    def __init__(
        self,
        model: Model,
        tools: Sequence[Tool],
        *,
        max_turns: int = 6,
        max_calls: int = 12,
        max_tokens_total: int = 8_000,
        max_s: float = 60.0,
        name: str = "tool-loop",
        fingerprint: str | None = None,
    ) -> None:
        self._tools = {tool.__name__: tool for tool in tools}
        if not tools or len(self._tools) < len(tools):
            raise ValueError(
                "`tools` must be one or more functions of different names, got "
                f"{[tool.__name__ for tool in tools]}"
            )
        limits = {"max_turns": max_turns, "max_calls": max_calls,
                  "max_tokens_total": max_tokens_total}  # fmt: skip
        for limit, value in limits.items():
            if value < 1:
                raise ValueError(f"`{limit}` must be >= 1, got {value}")
        if not max_s > 0:
            raise ValueError(f"`max_s` must be > 0, got {max_s}")
        self._model, self._limits, self._max_s = model, limits, max_s
        self.name, self._fingerprint = name, fingerprint

    def members(self) -> Sequence[Model]:
        """Return the model that takes the turns."""
        return [self._model]

    def with_members(self, models: Sequence[Model]) -> "ToolLoop":
        """Return the same loop over another model."""
        (model,) = models
        return ToolLoop(
            model,
            list(self._tools.values()),
            max_turns=self._limits["max_turns"],
            max_calls=self._limits["max_calls"],
            max_tokens_total=self._limits["max_tokens_total"],
            max_s=self._max_s,
            name=self.name,
            fingerprint=self._fingerprint,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return tools and limits; the model is a member.

        Raises
        ------
        FingerprintError
            If a tool's source cannot be hashed, and no `fingerprint` was given.
        """
        tools: Any = self._fingerprint
        if tools is None:
            tools = [of_function(tool) for tool in self._tools.values()]
        return {"tool_loop": tools, **self._limits, "max_s": self._max_s}

    async def generate(
        self,
        prompt: ModelPrompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Take turns until the model answers, or a limit is reached."""
        talk = _Talk(messages=[{"role": "system", "content": _HOW + self._described()},
                               *to_messages(prompt)])  # fmt: skip
        options = {"temperature": temperature, "max_tokens": max_tokens, "stop": stop}
        started = anyio.current_time()
        limit: str | None = "max_s"
        with anyio.move_on_after(self._max_s):
            limit = await self._converse(talk, options, seed)
        return talk.completion(self.name, limit=limit, latency_s=anyio.current_time() - started)

    async def _converse(
        self, talk: "_Talk", options: Mapping[str, Any], seed: int | None
    ) -> str | None:
        """Return the limit that ended the talk; None when the model answered."""
        while True:
            if len(talk.replies) >= self._limits["max_turns"]:
                return "max_turns"
            if talk.tokens() >= self._limits["max_tokens_total"]:
                return "max_tokens_total"
            turn_seed = None if seed is None else derive(seed, "turn", len(talk.replies))
            answer = await self._model.generate(talk.messages, seed=turn_seed, **options)
            reply = Completion.of(answer, model=self.name)
            talk.replies.append(reply)
            call = read_call(reply.text)
            if call is None:
                return None
            if talk.calls >= self._limits["max_calls"]:
                return "max_calls"
            talk.calls += 1
            talk.messages += [
                {"role": "assistant", "content": reply.text},
                {"role": "user", "content": await self._result(*call)},
            ]

    async def _result(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a function and return what the model is told."""
        from pydantic import ValidationError, validate_call

        tool = self._tools.get(name)
        if tool is None:
            return f"Error: there is no function {name!r}; there are {', '.join(self._tools)}."
        checked = validate_call(tool)
        try:
            if inspect.iscoroutinefunction(tool):
                value = await checked(**arguments)
            else:
                value = await anyio.to_thread.run_sync(
                    lambda: checked(**arguments), abandon_on_cancel=True
                )
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return f"Error: the arguments do not fit: {told}."
        except Exception as error:  # noqa: BLE001 - the model is told, and may try again
            return f"Error: {type(error).__name__}: {error}"
        return f"Result of {name}: {_shown(value)}"

    def _described(self) -> str:
        return "\n".join(
            f"{name}{inspect.signature(tool)}: {inspect.getdoc(tool) or ''}".rstrip(": ")
            for name, tool in self._tools.items()
        )


def read_call(text: str) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of the call that a reply is; None if it is none."""
    fenced = _FENCE.match(text)
    try:
        found = json.loads(fenced[1] if fenced else text)
    except ValueError:
        return None
    if not isinstance(found, dict) or set(found) - {"tool", "arguments"}:
        return None
    name, arguments = found.get("tool"), found.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return name, arguments


@dataclass(slots=True)
class _Talk:
    """Messages and replies so far."""

    messages: list[dict[str, str]]
    replies: list[Completion] = field(default_factory=list)
    calls: int = 0

    def tokens(self) -> int:
        """Return the tokens of all turns, estimated where they are unknown."""
        said = sum(len(m["content"]) for m in self.messages)
        return sum(
            (said // _CHARACTERS_PER_TOKEN if r.input_tokens is None else r.input_tokens)
            + (len(r.text) // _CHARACTERS_PER_TOKEN if r.output_tokens is None else r.output_tokens)
            for r in self.replies
        )

    def completion(self, name: str, *, limit: str | None, latency_s: float) -> Completion:
        last = self.replies[-1] if self.replies else None
        return Completion(
            text="" if last is None else last.text,
            model=name,
            served_by=None if last is None else last.served_by,
            input_tokens=_total([r.input_tokens for r in self.replies]),
            output_tokens=_total([r.output_tokens for r in self.replies]),
            cost_usd=_total([r.cost_usd for r in self.replies]),
            billed_usd=_total([r.billed_usd for r in self.replies]),
            latency_s=latency_s,
            finish="stop" if limit is None else "limit",
            simulated=any(r.simulated for r in self.replies),
            extra={
                "turns": len(self.replies),
                "tool_calls": self.calls,
                "limit": limit,
                "metrics": {"turns": float(len(self.replies)), "tool_calls": float(self.calls)},
            },
        )


def _total(numbers: Sequence[Any]) -> Any:
    if any(number is None for number in numbers):
        return None
    return sum(numbers) if all(isinstance(n, int) for n in numbers) else math.fsum(numbers)


def _shown(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)

"""Any function as a model."""

import inspect
import time
from collections.abc import Awaitable, Callable, Sequence

from crucible_ensemble.completion import Completion
from crucible_ensemble.model import Prompt
from crucible_ensemble.spans import generate_span


class FunctionModel:
    """A function from a prompt to text or a Completion, sync (run in a thread) or async."""

    def __init__(
        self,
        fn: Callable[[Prompt], str | Completion | Awaitable[str | Completion]],
        *,
        name: str | None = None,
    ) -> None:
        self.name = name or f"function/{getattr(fn, '__qualname__', type(fn).__name__)}"
        self._fn = fn
        self._is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
            getattr(fn, "__call__", None)  # noqa: B004 - an object with an async call is one
        )

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
        """Call the function; it is given the prompt and none of the options."""
        with generate_span(self.name, system="function") as span:
            started = time.monotonic()
            if self._is_async:
                result = await self._fn(prompt)  # type: ignore[misc]
            else:
                import anyio.to_thread

                result = await anyio.to_thread.run_sync(self._fn, prompt)
                if inspect.isawaitable(result):
                    result = await result
            if isinstance(result, Completion):
                return span.answered(result)
            if not isinstance(result, str):
                raise TypeError(f"{self.name} must return str or Completion, got {type(result)}")
            return span.answered(
                Completion(
                    text=result,
                    model=self.name,
                    latency_s=time.monotonic() - started,
                    finish="stop",
                )
            )

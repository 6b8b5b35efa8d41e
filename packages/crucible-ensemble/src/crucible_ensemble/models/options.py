"""What every client of a provider has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crucible_ensemble.limits import Breaker, Limiter
from crucible_ensemble.models.connections import Connections
from crucible_ensemble.prices import PriceBook
from crucible_ensemble.retry import Retries

if TYPE_CHECKING:
    import httpx

Unsupported = Literal["raise", "record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of every client.

    Attributes
    ----------
    api_key : str, optional
        Else from the environment, at the first call.
    timeout_s : float, > 0
        For one attempt, from sending to the last byte.
    retries : Retries
    limiter : Limiter, optional
        By default 10 calls at a time, for this model alone.
    breaker : Breaker, optional
    prices : PriceBook, optional
    unsupported : {"raise", "record"}
        What happens to an option that the API does not have: an error before anything is sent, or
        it is left out and named in `Completion.dropped`.
    raise_filtered : bool
        Raise `ContentFilteredError` instead of returning finish "filtered".
    capture_content : bool
        Put prompts and answers into spans.
    extra_body, headers : mapping
        Sent with every request, for what is special to a server.
    connections : Connections, optional
        Shared with other models, as `open_models` does; by default the model has its own.
    client : httpx.AsyncClient, optional
        Used instead, and not closed.
    """

    api_key: str | None = None
    timeout_s: float = 30.0
    retries: Retries | None = None
    limiter: Limiter | None = None
    breaker: Breaker | None = None
    prices: PriceBook | None = None
    unsupported: Unsupported = "raise"
    raise_filtered: bool = False
    capture_content: bool = False
    extra_body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    connections: Connections | None = None
    client: "httpx.AsyncClient | None" = None

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ValueError(f"`timeout_s` must be > 0, got {self.timeout_s}")
        if self.unsupported not in ("raise", "record"):
            raise ValueError(f'`unsupported` must be "raise" or "record", got {self.unsupported!r}')

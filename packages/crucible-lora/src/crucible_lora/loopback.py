"""A service on this machine that speaks Tinker's protocol, for trying things out and for tests.

Its model is real but no language model: one softmax over the vocabulary, whatever stands before.
"""

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from crucible_lora.losses import log_softmax

Array = NDArray[np.float64]
_PROTO = "application/x-protobuf"


@dataclass(slots=True, kw_only=True)
class _Model:
    """Logits of tokens, their gradient so far, and the moments of AdamW."""

    base_model: str
    logits: Array
    gradient: Array
    first: Array
    second: Array
    steps: int = 0
    last_request: int = 0

    @classmethod
    def fresh(cls, base_model: str, size: int) -> "_Model":
        return cls(
            base_model=base_model,
            logits=np.zeros(size),
            gradient=np.zeros(size),
            first=np.zeros(size),
            second=np.zeros(size),
        )

    def copy(self, *, optimizer: bool) -> "_Model":
        again = _Model.fresh(self.base_model, len(self.logits))
        again.logits = self.logits.copy()
        if optimizer:
            again.first, again.second = self.first.copy(), self.second.copy()
            again.steps = self.steps
        return again

    def step(self, params: Mapping[str, float]) -> None:
        """Take a step of AdamW as torch does."""
        gradient, limit = self.gradient, params["grad_clip_norm"]
        norm = float(np.linalg.norm(gradient))
        if limit > 0 and norm > limit:
            gradient = gradient * (limit / norm)
        self.steps += 1
        one, two = params["beta1"], params["beta2"]
        self.first += (1 - one) * (gradient - self.first)
        self.second += (1 - two) * (gradient * gradient - self.second)
        rate = params["learning_rate"]
        self.logits *= 1 - rate * params["weight_decay"]
        slope = self.first / (1 - one**self.steps)
        spread = np.sqrt(self.second / (1 - two**self.steps)) + params["eps"]
        self.logits -= rate * slope / spread
        self.gradient = np.zeros_like(self.gradient)


@dataclass(slots=True, kw_only=True)
class _Pending:
    """An answer that waits to be fetched; `polls` times it says that it is not ready yet."""

    work: Callable[[], tuple[str, bytes]]
    polls: int


@dataclass(slots=True, kw_only=True)
class _Record:
    """What a service saw."""

    calls: Counter[str] = field(default_factory=Counter)
    adam: list[dict[str, float]] = field(default_factory=list)
    sampled: list[dict[str, Any]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    most_in_flight: int = 0


class LoopbackService:
    """Serve Tinker's protocol on a free port of this machine, for as long as its context lasts.

    Parameters
    ----------
    vocabulary : int, >= 2
    polls : int, >= 0
        How often each answer is "not ready yet" before it is given.

    Attributes
    ----------
    url : str
        For `TinkerBackend(base_url=...)`.
    seen : record
        Calls by endpoint, parameters of each optimiser step, requests to create and to sample, and
        the most requests that were under way at the same time.

    Notes
    -----
    Requests of a training run must come in the order of their numbers; one out of order is an
    error, as it is on the service.
    """

    def __init__(self, *, vocabulary: int = 257, polls: int = 0) -> None:
        self.seen = _Record()
        self._size, self._polls = vocabulary, polls
        self._lock = threading.Lock()
        self._faults: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._models: dict[str, _Model] = {}
        self._saved: dict[str, _Model] = {}
        self._samplers: dict[str, tuple[str, str | None]] = {}
        self._pending: dict[str, _Pending] = {}
        self._number = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, endpoint: str, status: int, *, times: int = 1, message: str = "refused") -> None:
        """Refuse the next calls of an endpoint.

        Parameters
        ----------
        endpoint : str
            "optim_step", "asample", ...
        status : int
            Of HTTP; 0 accepts the request, and its answer is an error of the user's.
        """
        self._faults[endpoint] += [(status, message)] * times

    def answer(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Return status, type and content of the answer to a request."""
        parts = path.removeprefix("/api/v1/").split("/")
        endpoint = parts[0] if parts[0] != "client" else parts[1]
        with self._lock:
            self.seen.calls[endpoint] += 1
            failed = self._faults[endpoint].pop(0) if self._faults[endpoint] else None
            if failed is not None and failed[0]:
                return failed[0], *_json({"message": failed[1]})
            if endpoint == "forward_backward":
                return 200, *self._promise(self._read_forward(body), failed)
            data = json.loads(body) if body else {}
            if endpoint == "retrieve_future":
                return 200, *self._retrieve(data["request_id"])
            return self._serve(endpoint, parts, data, failed)

    def _serve(
        self, endpoint: str, parts: list[str], data: Any, failed: tuple[int, str] | None
    ) -> tuple[int, str, bytes]:
        if endpoint in ("config", "session_heartbeat", "sessions"):
            return 200, *_json({})
        if endpoint == "telemetry":
            return 200, *_json({"status": "accepted"})
        if endpoint == "create_session":
            return 200, *_json({"session_id": f"session-{self._next()}"})
        if endpoint == "get_info":
            model = self._models[data["model_id"]]
            about = {"model_name": model.base_model}
            return 200, *_json({"model_id": data["model_id"], "model_data": about})
        if endpoint == "create_sampling_session":
            name = f"sampler-{self._next()}"
            path, base = data.get("model_path"), data.get("base_model")
            self._samplers[name] = (base or self._saved[path].base_model, path)
            return 200, *_json({"sampling_session_id": name})
        if endpoint == "samplers":
            base, path = self._samplers[parts[1]]
            return 200, *_json({"sampler_id": parts[1], "base_model": base, "model_path": path})
        works: dict[str, Callable[[Any], Callable[[], tuple[str, bytes]]]] = {
            "create_model": self._create_model,
            "load_weights": self._load_weights,
            "optim_step": self._optim_step,
            "save_weights": lambda d: self._save(d, "weights"),
            "save_weights_for_sampler": lambda d: self._save(d, "sampler_weights"),
            "asample": self._sample,
        }
        if endpoint not in works:
            return 404, *_json({"message": f"no endpoint {endpoint!r}"})
        ids = [f"sequence-{self._next()}"] if endpoint == "asample" else None
        return 200, *self._promise(works[endpoint](data), failed, sequences=ids)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _promise(
        self,
        work: Callable[[], tuple[str, bytes]],
        failed: tuple[int, str] | None,
        *,
        sequences: list[str] | None = None,
    ) -> tuple[str, bytes]:
        if failed is not None:
            error = {"error": failed[1], "category": "user"}
            work = lambda: _json(error)  # noqa: E731
        name = f"request-{self._next()}"
        self._pending[name] = _Pending(work=work, polls=self._polls)
        self.seen.most_in_flight = max(self.seen.most_in_flight, len(self._pending))
        return _json({"request_id": name, "sample_sequence_ids": sequences})

    def _retrieve(self, name: str) -> tuple[str, bytes]:
        pending = self._pending[name]
        if pending.polls > 0:
            pending.polls -= 1
            return _json({"type": "try_again", "request_id": name, "queue_state": "active"})
        del self._pending[name]
        return pending.work()

    def _ordered(self, model_id: str, number: int) -> _Model:
        model = self._models[model_id]
        if number != model.last_request + 1:
            raise ValueError(f"request {number} of {model_id} after {model.last_request}")
        model.last_request = number
        return model

    def _create_model(self, data: Any) -> Callable[[], tuple[str, bytes]]:
        self.seen.created.append(data)
        name = f"{data['session_id']}:train:{data['model_seq_id']}"
        self._models[name] = _Model.fresh(data["base_model"], self._size)
        return lambda: _json({"model_id": name, "type": "create_model"})

    def _load_weights(self, data: Any) -> Callable[[], tuple[str, bytes]]:
        name = f"{data['session_id']}:train:{data['model_seq_id']}"
        self._models[name] = self._saved[data["path"]].copy(optimizer=data["optimizer"])
        return lambda: _json({"path": data["path"], "model_id": name, "type": "load_weights"})

    def _optim_step(self, data: Any) -> Callable[[], tuple[str, bytes]]:
        self.seen.adam.append(data["adam_params"])
        self._ordered(data["model_id"], data["seq_id"]).step(data["adam_params"])
        return lambda: _json({"metrics": {}})

    def _save(self, data: Any, kind: str) -> Callable[[], tuple[str, bytes]]:
        model = self._ordered(data["model_id"], data["seq_id"])
        path = f"tinker://{data['model_id']}/{kind}/{data['path']}"
        self._saved[path] = model.copy(optimizer=kind == "weights")
        return lambda: _json({"path": path})

    def _sample(self, data: Any) -> Callable[[], tuple[str, bytes]]:
        from tinker.proto import tinker_public_pb2 as proto

        self.seen.sampled.append(data)
        _, path = self._samplers[data["sampling_session_id"]]
        logits = np.zeros(self._size) if path is None else self._saved[path].logits
        params = data["sampling_params"]
        logp = log_softmax(logits)
        warm = logits / params["temperature"] if params["temperature"] else logits
        weights = np.exp(log_softmax(warm))
        rng = np.random.default_rng(params.get("seed"))
        tokens: list[int] = []
        while len(tokens) < params["max_tokens"]:
            greedy = not params["temperature"]
            drawn = np.argmax(weights) if greedy else rng.choice(self._size, p=weights)
            tokens.append(int(drawn))
            if tokens[-1] in (params.get("stop") or ()):
                break
        ended = tokens[-1] in (params.get("stop") or ())
        answer = proto.SampleResponse()
        sequence = answer.sequences.add()
        sequence.tokens = np.asarray(tokens, dtype=np.int32).tobytes()
        sequence.logprobs = logp[tokens].astype(np.float32).tobytes()
        reason = proto.STOP_REASON_STOP if ended else proto.STOP_REASON_LENGTH
        sequence.stop_reason = reason
        return lambda: (_PROTO, answer.SerializeToString())

    def _read_forward(self, body: bytes) -> Callable[[], tuple[str, bytes]]:
        from tinker.proto import tinker_public_pb2 as proto

        request = proto.ForwardBackwardRequest()
        request.ParseFromString(body)
        model = self._ordered(request.model_id, request.seq_id)
        logp = log_softmax(model.logits)
        share = np.exp(logp)
        rows = []
        for datum in request.data:
            wanted = np.frombuffer(datum.loss_fn_inputs["target_tokens"].dense, dtype=np.int64)
            weights = np.frombuffer(datum.loss_fn_inputs["weights"].dense, dtype=np.float32)
            rows.append(logp[wanted].astype(np.float32))
            if not request.forward_only:  # the sum over tokens, not a mean
                model.gradient += float(weights.sum()) * share
                np.subtract.at(model.gradient, wanted, weights.astype(np.float64))
        answer = proto.ForwardBackwardOutput(loss_fn_output_type="ArrayRecord")
        record = answer.loss_fn_outputs.add()
        record.num_datums = len(rows)
        tensor = record.fields["logprobs"]
        tensor.dtype = proto.DTYPE_FLOAT32
        tensor.data = b"".join(row.tobytes() for row in rows)
        ends = np.cumsum([0, *(4 * len(row) for row in rows)])
        tensor.offsets = ends.astype(np.int64).tobytes()
        return lambda: (_PROTO, answer.SerializeToString())


def _json(data: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(data).encode()


def _handler(service: LoopbackService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
        wbufsize = -1

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def do_GET(self) -> None:
            self._reply(b"")

        def _reply(self, body: bytes) -> None:
            try:
                status, kind, content = service.answer(self.path, body)
            except (KeyError, ValueError) as error:
                status, (kind, content) = 422, _json({"message": repr(error)})
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler

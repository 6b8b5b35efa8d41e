"""Stored events on to an OpenTelemetry collector: late if it must be, and never lost."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_telemetry import query
from crucible_telemetry.event import Event
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.extras import require
from crucible_telemetry.filters import F
from crucible_telemetry.records import ExperimentRecord
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store
from crucible_telemetry.suppression import suppressed
from crucible_telemetry.values import dump

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_BATCH = 512

_log = logging.getLogger("crucible_telemetry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What one call of `forward` did; `error` says why `waiting` events still wait."""

    sent: int
    waiting: int
    error: str | None


class OTLPForwarder:
    """Send what a store has to a collector over OTLP/HTTP.

    How far it got is kept in the store, per collector and experiment, and moves only after the
    collector has accepted: a dead collector delays and loses nothing. After a crash the last batch
    may arrive twice.

    Parameters
    ----------
    endpoint : str
        As "http://localhost:4318/v1/traces".
    headers : mapping, optional
        Sent with every request.
    timeout_s : float, > 0
        Of one request.

    Raises
    ------
    MissingExtraError
        If the extra "otlp" is not installed.

    Notes
    -----
    Spans keep their identity. A recorded event becomes a span of its own, with an id derived from
    its number and `crucible.kind` "event".
    """

    def __init__(
        self, endpoint: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0
    ) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"`endpoint` must be an http(s) address, got {endpoint!r}")
        if not 0 < timeout_s < float("inf"):
            raise ValueError(f"`timeout_s` must be finite and > 0, got {timeout_s}")
        require("otlp")
        self._endpoint = endpoint
        self._headers = {**(headers or {}), "Content-Type": "application/x-protobuf"}
        self._timeout_s = timeout_s
        self._one_at_a_time = threading.Lock()

    def __repr__(self) -> str:
        return f"OTLPForwarder({self._endpoint!r})"

    def forward(
        self, experiment: Experiment | str, *, store: Store | str | Path | None = None
    ) -> Forwarded:
        """Send everything that is stored and was not sent yet.

        It stops at the first failure, which is counted in the experiment's statistics.

        Raises
        ------
        UnknownExperimentError
            If the store has no experiment of that id.
        """
        with self._one_at_a_time, located(experiment, store) as (opened, id):
            record = query.readable(opened, id)
            key = f"otlp {self._endpoint} {id}"
            with suppressed():
                cursor = _Cursor.read(opened.get("cursor", key))
            sent = 0
            waiting = self._waiting(opened, id, cursor)
            while batch := list(islice(waiting, _BATCH)):
                error = self._send(batch, record)
                if error is not None:
                    if isinstance(experiment, Experiment):
                        experiment.capture.forward_failed()
                    _log.warning("forwarding to %s failed: %s", self._endpoint, error)
                    left = len(batch) + sum(1 for _ in waiting)
                    return Forwarded(sent=sent, waiting=left, error=error)
                for done in batch:
                    cursor.add(done.writer_id, done.seq)
                with suppressed():
                    opened.put("cursor", key, cursor.to_dict())
                sent += len(batch)
            return Forwarded(sent=sent, waiting=0, error=None)

    @contextmanager
    def follow(self, experiment: Experiment, *, interval_s: float = 5.0) -> Iterator[None]:
        """Forward every `interval_s` seconds while the block runs, and once at its end."""
        if not 0 < interval_s < float("inf"):
            raise ValueError(f"`interval_s` must be finite and > 0, got {interval_s}")
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(interval_s):
                try:
                    self.forward(experiment)
                except Exception:  # noqa: BLE001  # the next round tries again
                    _log.exception("forwarding failed")

        thread = threading.Thread(target=run, name="crucible-telemetry-otlp", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.forward(experiment)

    def _waiting(self, store: Store, id: str, cursor: "_Cursor") -> Iterator[Event]:
        done = [(F("writer_id") == w) & (F("seq") <= upto) for w, upto in cursor.prefixes()]
        where = None
        for part in done:
            where = ~part if where is None else where & ~part
        for row in query.rows(store, Query(experiments=(id,), where=where)):
            event = Event.from_row(row)
            if not cursor.has(event.writer_id, event.seq):
                yield event

    def _send(self, events: Sequence[Event], record: ExperimentRecord) -> str | None:
        import requests
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        body = encode_spans(_spans(events, record)).SerializeToString()
        with suppressed():
            try:
                answer = requests.post(
                    self._endpoint, data=body, headers=self._headers, timeout=self._timeout_s
                )
            except requests.RequestException as error:
                return f"{type(error).__name__}: {error}"
        return None if answer.ok else f"HTTP {answer.status_code}"


class _Cursor:
    """Which numbers of each writer were sent: ranges, since a spilled event may come late."""

    def __init__(self, ranges: dict[str, list[list[int]]]) -> None:
        self._ranges = ranges

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> "_Cursor":
        found = {} if document is None else document["ranges"]
        return cls({writer: [list(part) for part in parts] for writer, parts in found.items()})

    def to_dict(self) -> dict[str, Any]:
        return {"ranges": self._ranges}

    def has(self, writer: str, seq: int) -> bool:
        return any(first <= seq <= last for first, last in self._ranges.get(writer, ()))

    def prefixes(self) -> list[tuple[str, int]]:
        return [(writer, parts[0][1]) for writer, parts in self._ranges.items() if parts[0][0] == 1]

    def add(self, writer: str, seq: int) -> None:
        parts = self._ranges.setdefault(writer, [])
        if parts and parts[-1][1] == seq - 1:
            parts[-1][1] = seq
        else:
            parts.append([seq, seq])
        parts.sort()
        merged: list[list[int]] = []
        for first, last in parts:
            if merged and merged[-1][1] >= first - 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self._ranges[writer] = merged


def _spans(events: Sequence[Event], record: ExperimentRecord) -> "list[ReadableSpan]":
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    resource = Resource(
        {
            "service.name": record.name,
            "crucible.experiment.id": record.id,
            "crucible.experiment.condition": record.condition,
        }
    )
    codes = {"ok": StatusCode.OK, "error": StatusCode.ERROR, "timeout": StatusCode.ERROR}
    kept = TraceFlags(TraceFlags.SAMPLED)
    spans = []
    for event in events:
        derived = blake2b(
            f"{event.experiment_id}/{event.writer_id}/{event.seq}".encode(), digest_size=24
        ).hexdigest()
        trace_id = int(event.trace_id or derived[:32], 16)
        parent = None
        if event.parent_span_id is not None:
            parent = SpanContext(
                trace_id, int(event.parent_span_id, 16), is_remote=False, trace_flags=kept
            )
        spans.append(
            ReadableSpan(
                name=event.name,
                context=SpanContext(
                    trace_id,
                    int(event.span_id or derived[32:], 16),
                    is_remote=False,
                    trace_flags=kept,
                ),
                parent=parent,
                resource=resource,
                attributes=_attributes(event),
                start_time=event.start_ns,
                end_time=event.start_ns + int((event.duration_s or 0) * 1e9),
                status=Status(
                    codes.get(event.outcome, StatusCode.UNSET),
                    event.error_type if event.outcome in ("error", "timeout") else None,
                ),
            )
        )
    return spans


def _attributes(event: Event) -> dict[str, Any]:
    """Return what OTLP can hold: scalars as they are, the rest as JSON."""
    columns = {
        "crucible.kind": event.kind,
        "crucible.outcome": event.outcome,
        "crucible.seq": event.seq,
        "crucible.writer_id": event.writer_id,
        "error.type": event.error_type,
        "gen_ai.request.model": event.model,
        "gen_ai.provider.name": event.provider,
        "gen_ai.usage.input_tokens": event.input_tokens,
        "gen_ai.usage.output_tokens": event.output_tokens,
        "crucible.cost_usd": event.cost_usd,
        "crucible.item.id": event.item_id,
        "crucible.repeat": event.repeat,
    }
    found: dict[str, Any] = {key: value for key, value in columns.items() if value is not None}
    for key, value in event.attributes.items():
        if isinstance(value, str | bool | int | float):
            found.setdefault(key, value)
        elif value is not None:
            found.setdefault(key, dump(value))
    return found

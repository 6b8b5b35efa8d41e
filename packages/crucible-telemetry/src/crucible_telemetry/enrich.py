"""From what was captured to a row that every store holds unchanged."""

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

from crucible_telemetry import promotion
from crucible_telemetry.captured import Ended, Recorded
from crucible_telemetry.content import drop_content, is_content, note_dropped, without_content
from crucible_telemetry.outcome import Outcome, span_outcome
from crucible_telemetry.redaction import Redactor
from crucible_telemetry.schema import Row
from crucible_telemetry.values import clean_attributes, clean_text, dump

SPAN_EVENTS = "crucible.span_events"
"""The attribute that holds a span's own events (name, time, attributes)."""

_log = logging.getLogger("crucible_telemetry")


class PriceBook(Protocol):
    """Know what tokens cost."""

    def cost_usd(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """Return the cost of a call in US dollars; None if the price is not known."""
        ...


class Enricher:
    """Turn captured tuples into rows: promote, price, drop content, make values storable."""

    def __init__(
        self,
        experiment_id: str,
        *,
        capture_content: bool,
        prices: PriceBook | None,
        redactor: Redactor | None = None,
        sample_rate: float = 1.0,
    ) -> None:
        self._experiment_id = experiment_id
        self._capture_content = capture_content
        self._prices = prices
        self._price_book_failed = False
        self._redactor = redactor
        self._sample_rate = sample_rate
        self.redaction_failures = 0

    def row(self, item: Recorded | Ended, *, writer_id: str, seq: int) -> Row:
        """Return the row of a captured event. Never raises: an event is not lost to a bad value."""
        key = (self._experiment_id, writer_id, seq)
        try:
            return key + (self._recorded(item) if isinstance(item, Recorded) else self._span(item))
        except Exception:  # noqa: BLE001  # whatever is wrong with it, it did happen
            _log.exception("an event could not be read; it is stored without its attributes")
            return key + _bare(item)

    def _recorded(self, item: Recorded) -> Row:
        return self._finish(
            kind="event",
            name=item.name,
            start_ns=item.start_ns,
            start_mono_ns=item.start_mono_ns,
            duration_s=item.duration_s,
            outcome=item.outcome,
            error_type=item.error_type,
            given=item,
            trace_id=_hex(item.trace_id, 32),
            span_id=None,
            parent_span_id=_hex(item.parent_span_id, 16),
            thread_id=item.thread_id,
            task=item.task,
            # What no trace and no key stands for is always kept.
            sample_rate=1.0
            if item.trace_id is None and item.sample_key is None
            else self._sample_rate,
            attributes=item.attributes,
            altered=[],
        )

    def _span(self, item: Ended) -> Row:
        span = item.span
        attributes = dict(span.attributes or {})
        exceptions: list[Mapping[str, Any]] = [
            e.attributes or {} for e in span.events if e.name == "exception"
        ]
        outcome, error_type = span_outcome(
            attributes,
            failed=span.status.status_code.name == "ERROR",
            cancelled_by=item.cancelled_by,
            exceptions=exceptions,
        )
        self._keep_events(item, attributes)
        start_ns, end_ns = span.start_time or 0, span.end_time or 0
        duration_s = item.duration_s
        if duration_s is not None:
            attributes["crucible.clock_stepped"] = True
        elif end_ns >= start_ns:
            duration_s = (end_ns - start_ns) / 1e9
        if item.adopted:
            attributes["crucible.adopted"] = True
        context = span.get_span_context()
        return self._finish(
            kind="span",
            name=span.name,
            start_ns=start_ns,
            start_mono_ns=item.start_mono_ns,
            duration_s=duration_s,
            outcome=outcome,
            error_type=error_type,
            given=None,
            trace_id=None if context is None else _hex(context.trace_id, 32),
            span_id=None if context is None else _hex(context.span_id, 16),
            parent_span_id=None if span.parent is None else _hex(span.parent.span_id, 16),
            thread_id=item.thread_id,
            task=item.task,
            sample_rate=self._sample_rate,
            attributes=attributes,
            altered=["*"] if span.dropped_attributes else [],
        )

    def _keep_events(self, item: Ended, attributes: dict[str, Any]) -> None:
        kept: list[dict[str, Any]] = []
        dropped: list[str] = []
        for event in item.span.events:
            inner: Mapping[str, Any] = event.attributes or {}
            if not self._capture_content:
                if is_content(event.name):
                    dropped.append(event.name)
                    continue
                dropped += [name for name in inner if is_content(name)]
                inner = without_content(inner)
            kept.append({"name": event.name, "time_ns": event.timestamp, "attributes": dict(inner)})
        if kept:
            attributes[SPAN_EVENTS] = kept
        if dropped:
            note_dropped(attributes, dropped)
        if self._capture_content and item.span.status.description:
            attributes["otel.status_description"] = item.span.status.description

    def _finish(
        self,
        *,
        kind: str,
        name: str,
        start_ns: int,
        start_mono_ns: int | None,
        duration_s: float | None,
        outcome: Outcome,
        error_type: str | None,
        given: Recorded | None,
        trace_id: str | None,
        span_id: str | None,
        parent_span_id: str | None,
        thread_id: int,
        task: str | None,
        sample_rate: float,
        attributes: dict[str, Any],
        altered: list[str],
    ) -> Row:
        """Fill the columns that `record` was not told from the attributes, and clean the rest."""
        if not self._capture_content:
            drop_content(attributes)
        model = given.model if given else None
        provider = given.provider if given else None
        tokens_in = given.input_tokens if given else None
        tokens_out = given.output_tokens if given else None
        cost = given.cost_usd if given else None
        item_id = given.item_id if given else None
        repeat = given.repeat if given else None
        if attributes:
            model_id = attributes.get("crucible.model.id")
            if model is None:
                model = promotion.promote(attributes, promotion.MODEL, promotion.is_text)
            if provider is None:
                provider = promotion.promote_provider(attributes, model_id)
            if tokens_in is None:
                tokens_in = promotion.promote(
                    attributes, promotion.INPUT_TOKENS, promotion.is_count
                )
            if tokens_out is None:
                tokens_out = promotion.promote(
                    attributes, promotion.OUTPUT_TOKENS, promotion.is_count
                )
            if cost is None:
                cost = promotion.promote(attributes, promotion.COST_USD, promotion.is_amount)
            if item_id is None:
                item_id = promotion.promote(attributes, promotion.ITEM_ID, promotion.is_identity)
            if repeat is None:
                repeat = promotion.promote(attributes, promotion.REPEAT, promotion.is_whole)
            attributes, changed = clean_attributes(attributes)
            altered += changed
            if self._redactor is not None:
                attributes = self._redacted(self._redactor, attributes, altered)
        cost_source = None if cost is None else "reported"
        if cost is None:
            cost = self._price(model, tokens_in, tokens_out)
            cost_source = None if cost is None else "priced"
        texts = {
            "name": name,
            "error_type": error_type,
            "model": model,
            "provider": provider,
            "item_id": None if item_id is None else str(item_id),
            "task": task,
        }
        for column, text in texts.items():
            if text is not None:
                texts[column] = cleaned = clean_text(text)
                if cleaned != text:
                    altered.append(column)
        return (
            texts["name"],
            kind,
            start_ns,
            start_mono_ns,
            duration_s,
            outcome,
            texts["error_type"],
            texts["model"],
            texts["provider"],
            tokens_in,
            tokens_out,
            None if cost is None else float(cost),
            cost_source,
            texts["item_id"],
            repeat,
            trace_id,
            span_id,
            parent_span_id,
            os.getpid(),
            thread_id,
            texts["task"],
            sample_rate,
            dump(sorted(set(altered))) if altered else None,
            dump(attributes) if attributes else "{}",
        )

    def _redacted(
        self, redactor: Redactor, attributes: dict[str, Any], altered: list[str]
    ) -> dict[str, Any]:
        try:
            redacted = redactor.redact(attributes)
            if not isinstance(redacted, dict):
                raise TypeError(f"a redactor must return a dict, got {type(redacted).__name__}")
            clean, changed = clean_attributes(redacted)
        except Exception as error:  # noqa: BLE001  # a hook of the user's
            if not self.redaction_failures:
                # The error's text may hold what must not be shown.
                _log.error("the redactor failed with %s; attributes dropped", type(error).__name__)
            self.redaction_failures += 1
            altered[:] = ["*"]
            return {}
        altered[:] = [name for name in altered if name in clean or name == "*"] + changed
        return clean

    def _price(self, model: str | None, tokens_in: int | None, tokens_out: int | None) -> Any:
        if self._prices is None or model is None or tokens_in is None or tokens_out is None:
            return None
        try:
            cost = self._prices.cost_usd(model, tokens_in, tokens_out)
        except Exception:  # noqa: BLE001  # a hook of the user's
            if not self._price_book_failed:
                self._price_book_failed = True
                _log.exception("the price book failed; costs stay unknown")
            return None
        return cost if promotion.is_amount(cost) else None


def _bare(item: Recorded | Ended) -> Row:
    """Return what is certain about an event that could not be read."""
    recorded = isinstance(item, Recorded)
    name = item.name if isinstance(item, Recorded) else item.span.name
    start_ns = item.start_ns if isinstance(item, Recorded) else item.span.start_time
    blank = (None,) * len(("error_type", "model", "provider", "input", "output", "cost", "source"))
    return (
        clean_text(str(name)),
        "event" if recorded else "span",
        start_ns or 0,
        None,
        None,
        "unknown",
        *blank,
        None,
        None,
        None,
        None,
        None,
        os.getpid(),
        item.thread_id,
        None,
        1.0,
        '["*"]',
        "{}",
    )


def _hex(number: int | None, digits: int) -> str | None:
    return None if number is None else f"{number:0{digits}x}"

"""An experiment over processes and machines: what travels with a job, and how a worker joins."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crucible_telemetry import query
from crucible_telemetry.assembly import Settings, assemble
from crucible_telemetry.clock import SystemClock
from crucible_telemetry.context import current_experiment, enter
from crucible_telemetry.enrich import PriceBook
from crucible_telemetry.errors import CarrierError, ExperimentStateError
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.redaction import Redactor, described
from crucible_telemetry.stores.opening import open_store
from crucible_telemetry.stores.port import Store

if TYPE_CHECKING:
    from opentelemetry.context import Context

_ID, _NAME, _CONDITION = (f"crucible.experiment.{key}" for key in ("id", "name", "condition"))
_SEED, _RATE = "crucible.sampling.seed", "crucible.sampling.rate"


def carrier(experiment: Experiment) -> dict[str, str]:
    """Return W3C `traceparent`, `tracestate` and `baggage` for a worker of this experiment.

    The identity of the experiment is in the baggage of what is returned, and never in the ambient
    one, which instrumented HTTP clients would send to whoever is called.
    """
    from opentelemetry import baggage
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import get_current
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    record = experiment.summary()
    entries = {_ID: record.id, _NAME: record.name, _CONDITION: record.condition}
    if record.sample_rate < 1:
        entries |= {_SEED: str(record.seed), _RATE: repr(record.sample_rate)}
    context = get_current()
    for key, value in entries.items():
        context = baggage.set_baggage(key, value, context)
    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found, context)
    W3CBaggagePropagator().inject(found, context)
    return found


def join_experiment(
    carrier: Mapping[str, str],
    *,
    store: Store | str | Path | None = None,
    redactor: Redactor | None = None,
    prices: PriceBook | None = None,
    capture_spans: bool = True,
) -> Experiment:
    """Write to an experiment that another process started, from its `Experiment.carrier()`.

    Parameters
    ----------
    carrier : mapping
        What the other process sent; names of headers may be of any case.
    store : Store, str or path, optional
        The store of that experiment, as for `start_experiment`.
    redactor, prices : optional
        As for `start_experiment`. They do not travel: a redactor of the experiment has to be given
        here again, equal to the first.
    capture_spans : bool
        As for `start_experiment`.

    Returns
    -------
    Experiment
        Running and current here, with a writer of its own. Spans continue the sender's trace.
        Stopping it ends this process's part only.

    Raises
    ------
    CarrierError
        If the carrier names no experiment.
    UnknownExperimentError
        If the store does not have it.
    ExperimentStateError
        If it has stopped.
    ValueError
        If the experiment redacts and `redactor` is not the same.
    """
    sent = _Sent.read(carrier)
    processor = None
    if capture_spans:
        from crucible_telemetry.provider import capture_from_provider

        processor, _ = capture_from_provider()
    owns_store = not isinstance(store, Store)
    opened = store if isinstance(store, Store) else open_store(store)
    try:
        record = query.experiment(opened, sent.id)
        if record.state in ("stopped", "archived"):
            raise ExperimentStateError("join", record.state)
        if record.redactor != described(redactor):
            raise ValueError(
                f"`redactor` must be that of the experiment, {record.redactor}, "
                f"got {described(redactor)}"
            )
        experiment = assemble(
            replace(record, state="running"),
            settings=Settings(redactor=redactor, prices=prices),
            store=opened,
            owns_store=owns_store,
            outer=current_experiment(),
            processor=processor,
            clock=SystemClock(),
            joins=True,
        )
    except BaseException:
        if owns_store:
            opened.close()
        raise
    enter(experiment, parent=sent.context)
    return experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    id: str
    context: "Context"

    @classmethod
    def read(cls, carrier: Mapping[str, str]) -> "_Sent":
        from opentelemetry import baggage
        from opentelemetry.baggage.propagation import W3CBaggagePropagator
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = {str(key).lower(): value for key, value in carrier.items()}
        context = TraceContextTextMapPropagator().extract(headers, Context())
        entries = baggage.get_all(W3CBaggagePropagator().extract(headers, Context()))
        id = entries.get(_ID)
        if not isinstance(id, str) or not id:
            raise CarrierError(_ID)
        return cls(id=id, context=context)

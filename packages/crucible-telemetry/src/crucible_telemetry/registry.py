"""The project's one table of span names and attributes. It is data: nobody has to import it.

Packages keep their own strings; a contract test runs their operations and asks `problems` about
every span it sees. Whoever analyses events looks up here what a name means.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

GENAI_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
"""Where the `gen_ai.*` names come from. They are plain strings: the constants are deprecated."""

Unit = Literal["request", "call", "step", "internal"]

EVERYWHERE = (
    "crucible.experiment.id",
    "crucible.experiment.name",
    "crucible.experiment.condition",
    "crucible.condition",
    "crucible.item.id",
    "crucible.repeat",
    "crucible.outcome",
    "crucible.cost_usd",
    "crucible.simulated",
    "crucible.model.id",
    "error.type",
)
"""Attributes that any span may carry."""

GENAI_CONTENT = ("gen_ai.input.messages", "gen_ai.output.messages")
"""Attributes that hold prompts and answers; dropped unless an experiment captures content."""

_CALL = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.request.temperature",
    "gen_ai.request.max_tokens",
    "gen_ai.request.seed",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "server.address",
    "server.port",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanKind:
    """A span name, or the name of a recorded event.

    Attributes
    ----------
    name, package : str
    unit : {"request", "call", "step", "internal"}
        What one such span stands for: a request of the user's, one call of a model, one step of a
        training, or work of the package itself.
    required, optional : tuple of str
        Names of attributes; `*` stands for any characters.
    content : tuple of str
        Of these, those that hold prompts or answers.
    """

    name: str
    package: str
    unit: Unit
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    content: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def _span(
    name: str,
    unit: Unit,
    own: str = "",
    *,
    required: str = "",
    more: tuple[str, ...] = (),
    content: tuple[str, ...] = (),
) -> SpanKind:
    """Build a row: `own` and `required` are words below the package's prefix."""
    _, package, _ = name.split(".", 2)
    prefix = f"crucible.{package}."
    return SpanKind(
        name=name,
        package=f"crucible-{'telemetry' if package == 'training' else package}",
        unit=unit,
        required=tuple(prefix + word for word in required.split()),
        optional=tuple(prefix + word for word in own.split()) + more + content,
        content=content,
    )


_BENCH = (
    "test rule n_control n_treatment n_clusters n_groups n_comparisons outcome estimate p_value "
    "interval_low interval_high n_resamples warnings"
)
_TRAINING = "epoch loss loss_nonfinite learning_rate grad_norm tokens segment metric.*"

SPANS: tuple[SpanKind, ...] = (
    _span("crucible.bench.bootstrap", "internal", _BENCH),
    _span("crucible.bench.compare", "internal", _BENCH),
    _span("crucible.bench.compare_multiple", "internal", _BENCH),
    _span("crucible.bench.compare_paired", "internal", _BENCH),
    _span("crucible.bench.meta_analysis", "internal", _BENCH),
    _span("crucible.bench.permutation_test", "internal", _BENCH),
    _span("crucible.bench.sample_size", "internal", _BENCH),
    _span("crucible.causaltrace.parse", "internal", "events issues chars"),
    _span("crucible.causaltrace.probe", "request", required="samples seed"),
    _span("crucible.causaltrace.probe_call", "call"),
    _span("crucible.causaltrace.render", "internal", "events bytes"),
    _span("crucible.causaltrace.save", "internal", "events"),
    _span(
        "crucible.datasets.download",
        "internal",
        "bytes attempts",
        more=("http.response.status_code", "server.address"),
    ),
    _span("crucible.datasets.drift", "internal", "drifted", required="n"),
    _span("crucible.datasets.duplicates", "internal", "pairs method", required="n kind"),
    _span("crucible.datasets.evaluate", "internal", "n_items n_missing n_unextracted metric.*"),
    _span(
        "crucible.datasets.load",
        "internal",
        "split subset n_items source_kind cache_hit fingerprint bytes",
        required="name",
    ),
    _span("crucible.datasets.quality", "internal", "passed", required="n"),
    _span("crucible.datasets.run_code", "internal", "passed timeout isolation", required="n"),
    _span("crucible.ensemble.collect", "internal", required="cells resumed"),
    _span("crucible.ensemble.evaluate", "internal", required="strategies cells"),
    _span(
        "crucible.ensemble.generate",
        "call",
        "attempt",
        more=(*_CALL, "crucible.confidence", "crucible.confidence_source", "crucible.cached"),
        content=GENAI_CONTENT,
    ),
    _span(
        "crucible.ensemble.member",
        "call",
        "status attempts queued_s",
        required="member sample weight",
    ),
    _span(
        "crucible.ensemble.predict",
        "request",
        "called valid consensus support tie abstained ended hedged",
        required="strategy execution asked",
    ),
    _span(
        "crucible.ensemble.vote",
        "internal",
        "answer_count tied winner_score",
        required="strategy n",
    ),
    _span("crucible.harness.analyse", "internal"),
    _span(
        "crucible.harness.cell",
        "request",
        "status from_journal",
        required="schedule_position",
    ),
    _span("crucible.harness.estimate", "internal"),
    _span("crucible.harness.report", "internal", "bytes", required="format"),
    _span(
        "crucible.harness.run",
        "internal",
        "run_id status planned finished failed cost_usd",
        required="digest",
    ),
    _span("crucible.harness.verify", "internal", "ok"),
    _span(
        "crucible.hedging.attempt",
        "call",
        "attempt.name attempt.cost_source explored",
        required="attempt.index attempt.status",
    ),
    _span(
        "crucible.hedging.request",
        "request",
        "key delay_s percentile probability winner blocked",
        required="policy hedged backups won shadow extra_requests wasted_s",
    ),
    _span("crucible.hedging.tiers", "request", "tier accepted"),
    _span("crucible.lora.checkpoint", "internal", "name bytes", required="step"),
    _span("crucible.lora.evaluate", "request", "metric.* verdict", required="n_items checkpoint"),
    _span(
        "crucible.lora.sample",
        "call",
        more=(
            "gen_ai.operation.name",
            "gen_ai.request.model",
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.output_tokens",
        ),
    ),
    _span(
        "crucible.lora.step",
        "step",
        "loss grad_norm target_tokens skipped",
        required="step epoch learning_rate",
    ),
    _span(
        "crucible.lora.train",
        "request",
        "experiment run_id backend base_model steps tokens target_fraction loss_first loss_final "
        "stopped",
    ),
    _span(
        "crucible.telemetry.alert",
        "internal",
        more=(
            "crucible.alert.rule",
            "crucible.alert.message",
            "crucible.alert.value",
            "crucible.alert.threshold",
            "crucible.alert.window_s",
            "crucible.alert.fired_ns",
            "crucible.alert.cleared_ns",
        ),
    ),
    _span("crucible.telemetry.export", "internal"),
    _span("crucible.telemetry.flush", "internal"),
    _span("crucible.telemetry.migrate", "internal", required="from_version to_version"),
    _span("crucible.training.checkpoint", "internal", "path sha256 segment", required="step"),
    _span("crucible.training.epoch", "step", _TRAINING, required="epoch"),
    _span("crucible.training.evaluation", "request", _TRAINING + " step"),
    _span("crucible.training.step", "step", _TRAINING, required="step segment"),
)


def find(name: str) -> SpanKind | None:
    """Return the row of a name; None if it is not registered."""
    return next((kind for kind in SPANS if kind.name == name), None)


def problems(name: str, attributes: Collection[str]) -> list[str]:
    """Return what the table has against a span of this name with these attributes.

    Attributes of others (`http.*`, a user's own) are nobody's business here; unregistered ones
    that start with `crucible.` are a problem, and so are required ones that are missing.
    """
    kind = find(name)
    if kind is None:
        return [f"{name} is not registered"] if name.startswith("crucible.") else []
    known = (*kind.required, *kind.optional, *EVERYWHERE)
    found = [
        f"{name} has no {attribute}" for attribute in kind.required if attribute not in attributes
    ]
    found += [
        f"{name} has the unregistered attribute {attribute}"
        for attribute in sorted(attributes)
        if attribute.startswith("crucible.")
        and not any(fnmatchcase(attribute, pattern) for pattern in known)
    ]
    return found

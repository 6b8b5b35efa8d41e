"""What an evaluation found, and how it is shown."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible_lora.gates import Direction, QualityReport, gate_table
from crucible_lora.measure import EvaluatedItem
from crucible_lora.records import Record
from crucible_lora.tables import csv_cell, markdown_table

ONE_SEED = (
    "One training seed: the intervals say how sure the difference is for this adapter, not for "
    "adapters trained with other seeds."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEstimate(Record):
    """A metric over the items, with a two-sided interval at `level`.

    `value` is None where it was not computed, for `reason`; bounds are None where `method` says
    that there is no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    level: float
    method: str
    direction: Direction
    unit: str
    source: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta(Record):
    """Tuned minus base, paired by item, with a two-sided 95 % interval."""

    base: float
    tuned: float
    difference: float
    low: float | None
    high: float | None
    n: int
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport(Record):
    """An adapter on held-out items.

    `checkpoint` is None and `compared_to` too where there is none. `cost_usd` is None where it is
    not known.
    """

    experiment_id: str
    backend: str
    checkpoint: str
    checkpoint_sha256: str
    compared_to: str | None
    n_items: int
    samples: int
    metrics: Mapping[str, MetricEstimate]
    quality: QualityReport | None
    delta: Mapping[str, Delta] | None
    items: tuple[EvaluatedItem, ...]
    cost_usd: float | None
    duration_s: float
    notes: tuple[str, ...] = ()

    def to_report(self) -> dict[str, Any]:
        """Return sections of text and tables, for whoever renders reports."""
        answers = "one answer" if self.samples == 1 else f"{self.samples} answers"
        sections = [
            {
                "title": "Metrics",
                "text": f"{self.n_items} items, {answers} each, greedy or seeded, by "
                f"checkpoint {self.checkpoint} of backend {self.backend}.",
                "table": {"columns": _METRIC_COLUMNS, "rows": self._metric_rows()},
                "chart": None,
            }
        ]
        if self.delta is not None:
            sections.append(
                {
                    "title": f"Against {self.compared_to}",
                    "text": ONE_SEED,
                    "table": {"columns": _DELTA_COLUMNS, "rows": self._delta_rows()},
                    "chart": self._chart(),
                }
            )
        if self.quality is not None:
            columns, rows = gate_table(self.quality)
            verdict = self.quality.verdict.replace("_", " ")
            sections.append(
                {
                    "title": f"Quality gates: {verdict}",
                    "text": "Bounds are one-sided. Missing, empty and cut-off outputs count as "
                    f"wrong: {self.quality.n_failed} of {self.quality.n_expected}.",
                    "table": {"columns": columns, "rows": rows},
                    "chart": None,
                }
            )
        for note in self.notes:
            sections.append({"title": "Note", "text": note, "table": None, "chart": None})
        return {"title": f"Evaluation of {self.experiment_id}", "sections": sections}

    def to_rows(self) -> list[Mapping[str, Any]]:
        """Return the evaluation as one row, for `results.to_csv` and its like."""
        row: dict[str, Any] = {
            "kind": "evaluation",
            "experiment_id": self.experiment_id,
            "backend": self.backend,
            "checkpoint": self.checkpoint,
            "compared_to": self.compared_to,
            "n_items": self.n_items,
            "samples": self.samples,
            "verdict": None if self.quality is None else self.quality.verdict,
        }
        for name, m in self.metrics.items():
            row |= {f"{name}": m.value, f"{name}.low": m.low, f"{name}.high": m.high}
        for name, d in (self.delta or {}).items():
            row |= {
                f"delta.{name}": d.difference,
                f"delta.{name}.low": d.low,
                f"delta.{name}.high": d.high,
            }
        return [row]

    def markdown(self) -> str:
        """Return the report as Markdown."""
        report = self.to_report()
        parts = [f"# {report['title']}"]
        for section in report["sections"]:
            parts += [f"## {section['title']}", section["text"]]
            if section["table"] is not None:
                parts.append(markdown_table(section["table"]["columns"], section["table"]["rows"]))
        return "\n\n".join(parts)

    def to_csv(self, path: Path | str) -> None:
        """Write one row per output; no cell can be a formula."""
        names = sorted({name for item in self.items for name in item.scores})
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            columns = ("item_id", "sample", "text", "nll", "target_tokens", "finish", "error")
            writer.writerow([*columns, *names])
            for item in self.items:
                cells = [*(getattr(item, c) for c in columns), *(item.scores[n] for n in names)]
                writer.writerow([csv_cell(cell) for cell in cells])

    def to_jsonl(self, path: Path | str) -> None:
        """Write one JSON object per output."""
        with Path(path).open("w", encoding="utf-8", newline="\n") as file:
            for item in self.items:
                file.write(json.dumps(item.to_dict(), sort_keys=True) + "\n")

    def _metric_rows(self) -> list[list[str]]:
        return [
            [
                name,
                _number(m.value),
                "none" if m.low is None else f"{_number(m.low)} to {_number(m.high)}",
                str(m.n),
                m.reason or m.method,
            ]
            for name, m in self.metrics.items()
        ]

    def _delta_rows(self) -> list[list[str]]:
        return [
            [
                name,
                _number(d.base),
                _number(d.tuned),
                f"{d.difference:+.3f}",
                "none" if d.low is None or d.high is None else f"{d.low:+.3f} to {d.high:+.3f}",
                str(d.n),
            ]
            for name, d in (self.delta or {}).items()
        ]

    def _chart(self) -> dict[str, Any]:
        values = [
            {"metric": name, "difference": d.difference, "low": d.low, "high": d.high}
            for name, d in (self.delta or {}).items()
        ]
        said = "; ".join(f"{v['metric']} {v['difference']:+.3f}" for v in values)
        y = {"field": "metric", "type": "nominal", "title": None}
        return {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "description": f"Differences to {self.compared_to} with their intervals: {said}",
            "data": {"values": values},
            "layer": [
                {
                    "mark": "rule",
                    "encoding": {
                        "y": y,
                        "x": {"field": "low", "type": "quantitative", "title": "tuned - base"},
                        "x2": {"field": "high"},
                    },
                },
                {
                    "mark": {"type": "point", "filled": True},
                    "encoding": {"y": y, "x": {"field": "difference", "type": "quantitative"}},
                },
            ],
        }


_METRIC_COLUMNS = ["metric", "value", "95 % interval", "n", "method"]
_DELTA_COLUMNS = ["metric", "base", "tuned", "difference", "95 % interval", "n"]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"

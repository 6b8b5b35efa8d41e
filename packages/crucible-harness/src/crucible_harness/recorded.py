"""A run as it was recorded: everything that analysis and reports may read."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.claims import Hypothesis, read_hypothesis
from crucible_harness.designs import Design, read_design
from crucible_harness.errors import NotARunError
from crucible_harness.experiment import blocks_of, canonical
from crucible_harness.folder import Folder
from crucible_harness.metrics import Metric, read_metric
from crucible_harness.prereg import preregistered
from crucible_harness.schedule import Cell, schedule

if TYPE_CHECKING:
    from crucible_harness.sequential import SequentialResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedItem:
    """An item as it was asked."""

    id: str
    input: str
    expected: Any
    metadata: Mapping[str, Any]
    choices: Sequence[str] | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCell:
    """What one condition made of one item; None = unknown."""

    condition: str
    item: str
    repeat: int
    position: int
    status: str
    output: str | None = None
    answer: str | None = None
    scores: Mapping[str, float | None]
    scorer_errors: Mapping[str, str] = field(default_factory=dict)
    unextracted: bool = False
    messages: Any = None
    votes: Mapping[str, int] | None = None
    attempts: int = 1
    calls: int | None = 0
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    consensus: float | None = None
    support: float | None = None
    abstained: float | None = None
    hedged: int = 0
    error_class: str | None = None
    error_message: str | None = None
    served_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A whole run, read from its folder."""

    path: Path
    manifest: Mapping[str, Any]
    design: Mapping[str, Any]
    digest: str
    conditions: tuple[str, ...]
    metrics: tuple[Metric, ...]
    hypotheses: tuple[Hypothesis, ...]
    layout: Design
    factors: Mapping[str, Mapping[str, Any]]
    planned_per_condition: Mapping[str, int]
    baseline: str | None
    items: tuple[RecordedItem, ...]
    cells: tuple[RecordedCell, ...]
    planned: int
    finished: int
    failed: int
    not_run: int
    status: str
    simulated: bool
    preregistered: bool
    leaf_calls: int
    possibly_billed: int
    plan: tuple[Cell, ...]
    sequential: "SequentialResult | None" = None

    @property
    def imported(self) -> Mapping[str, Any] | None:
        """Return where the run was imported from; None for a run that was made here."""
        return self.manifest.get("imported")


def load_run(path: Path | str) -> RecordedRun:
    """Read a run folder.

    Raises
    ------
    NotARunError
        If the folder holds no run, or a file of it is missing or damaged.
    """
    folder = Path(path)
    journal = Folder(folder).open_journal()
    try:
        design = json.loads(journal.meta("design"))
        rows = journal.cells()
        leaf_calls, possibly_billed = journal.answered(), len(journal.possibly_billed())
    finally:
        journal.close()
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotARunError(f"{str(folder)!r} is not a complete run folder: {error}") from error
    items = load_items(folder)
    listed = (folder / "items.jsonl").read_bytes()
    if hashlib.sha256(listed).hexdigest() != design["dataset"]["fingerprint"]:
        raise NotARunError(f"{str(folder / 'items.jsonl')!r} does not hold the items of the design")
    conditions = tuple(c["name"] for c in design["conditions"])
    order = {name: n for n, name in enumerate(conditions)}
    cells = tuple(
        read_cell(key, status, record)
        for key, (status, record) in sorted(
            rows.items(), key=lambda row: (order[row[0][0]], row[0][1], row[0][2])
        )
    )
    layout = read_design(design["design"])
    plan = schedule(
        [item.id for item in items],
        conditions,
        repeats=int(design["repeats"]),
        seed=int(design["seed"]),
        design=layout,
        blocks=blocks_of(layout, items),
    )
    planned = Counter(cell.condition for cell in plan)
    return RecordedRun(
        path=folder,
        manifest=manifest,
        design=design,
        digest=hashlib.sha256(canonical(design).encode()).hexdigest(),
        conditions=conditions,
        metrics=tuple(read_metric(m) for m in design["metrics"]),
        hypotheses=tuple(read_hypothesis(h) for h in design["hypotheses"]),
        layout=layout,
        factors={c["name"]: c["factors"] for c in design["conditions"]},
        planned_per_condition=dict(planned),
        baseline=design["baseline"],
        items=items,
        cells=cells,
        planned=len(plan),
        finished=len(cells),
        failed=sum(cell.status != "ok" for cell in cells),
        not_run=len(plan) - len(cells),
        status="complete" if len(plan) == len(cells) else _how_it_ended(manifest),
        simulated=any(record.get("simulated") for _, record in rows.values()),
        preregistered=preregistered(folder, manifest) is not None,
        leaf_calls=leaf_calls,
        possibly_billed=possibly_billed,
        plan=tuple(plan),
    )


def _how_it_ended(manifest: Mapping[str, Any]) -> str:
    status = str(manifest.get("status"))
    return "interrupted" if status in ("running", "complete") else status


def load_items(folder: Path) -> tuple[RecordedItem, ...]:
    """Read the items of a run, in the order of the data set.

    Raises
    ------
    NotARunError
        If the folder holds none, or they are damaged.
    """
    try:
        listed = (folder / "items.jsonl").read_bytes()
        return tuple(RecordedItem(**json.loads(line)) for line in listed.split(b"\n")[:-1])
    except (OSError, ValueError, TypeError) as error:
        raise NotARunError(f"{str(folder)!r} is not a complete run folder: {error}") from error


def read_cell(key: tuple[str, str, int], status: str, record: Mapping[str, Any]) -> RecordedCell:
    """Read one cell of a journal."""
    condition, item, repeat = key
    names = ("output", "answer", "votes", "cost_usd", "input_tokens", "output_tokens", "latency_s",
             "ttft_s", "consensus", "support", "abstained", "error_class", "error_message",
             "messages")  # fmt: skip
    found: dict[str, Any] = {name: record.get(name) for name in names}
    return RecordedCell(
        condition=condition,
        item=item,
        repeat=repeat,
        position=record["position"],
        status=status,
        scores=record.get("scores", {}),
        scorer_errors=record.get("scorer_errors", {}),
        unextracted=record.get("unextracted", False),
        attempts=record.get("attempts", 1),
        calls=record.get("calls", 0),
        hedged=record.get("hedged", 0),
        served_by=tuple(record.get("served_by", ())),
        **found,
    )


def dataset_name(run: RecordedRun) -> str:
    """Return name and split of the data set."""
    dataset = run.design.get("dataset")
    if isinstance(dataset, Mapping):
        name, split = dataset.get("name", "?"), dataset.get("split")
        return f"{name} ({split})" if split else str(name)
    return str(dataset)

"""From logs of another tool to a run folder like any other, marked as what it is."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crucible_harness.claims import Hypothesis
from crucible_harness.conditions import Condition
from crucible_harness.errors import ForeignLogError
from crucible_harness.experiment import Experiment
from crucible_harness.folder import folder_of, now
from crucible_harness.importers.inspect_ai import read_inspect
from crucible_harness.importers.lm_eval import read_lm_eval, tasks_together
from crucible_harness.importers.matching import Matched, match
from crucible_harness.importers.samples import ForeignLog, ForeignSample, sources
from crucible_harness.importers.table import read_table
from crucible_harness.judging import Answered
from crucible_harness.metrics import Metric
from crucible_harness.prompts import ItemLike

_SESOI = 0.05  # of a share, where none was named; the report says so


def read_logs(paths: Sequence[Path | str]) -> list[ForeignLog]:
    """Read logs: files, or folders of them.

    Raises
    ------
    ForeignLogError
        If a file is truncated, of another version, or of no tool that can be read.
    """
    # A file that is named twice, or by its folder as well, is one log.
    files = {file.resolve(): file for path in paths for file in _files(Path(path))}
    return tasks_together([(file, log) for file in files.values() for log in _read(file)])


def _read(file: Path) -> list[ForeignLog]:
    if file.name.startswith("samples_") and file.suffix == ".jsonl":
        return [read_lm_eval(file)]
    if file.suffix in (".eval", ".json"):
        return [read_inspect(file)]
    return read_table(file)


def import_logs(
    paths: Sequence[Path | str],
    *,
    directory: Path | str = "runs",
    metric: str | None = None,
    control: str | None = None,
    treatment: str | None = None,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    name: str | None = None,
) -> Path:
    """Make a run folder of logs that another tool wrote.

    Parameters
    ----------
    paths : files or folders
        Inspect AI `.eval` and `.json`; sample files of lm-evaluation-harness; CSV or JSON Lines.
        Each log, or each condition of a table, becomes a condition; so do all tasks of a run of
        lm-evaluation-harness together, where there are several runs.
    directory : path
        The run folder is made in it.
    metric : str, optional
        The main outcome, by the log's own name; by default "accuracy" or the first score.
    control, treatment : str, optional
        Conditions of the hypothesis; by default the two there are, in the order of `paths`.
    sesoi : float, > 0, optional
        Smallest effect of interest; by default .05 for a score in [0, 1], else it must be given.
    higher_is_better : bool
        Of the main outcome, where the log does not say.
    name : str, optional

    Returns
    -------
    path
        Of the run folder. `crucible_harness.analyse` and `report` read it like any other; nothing
        in it was designed here, and it says so.

    Raises
    ------
    ForeignLogError
        If a log cannot be read, or no item is in more than one condition.
    ValueError
        If metric, control or treatment is not in the logs.
    """
    logs = read_logs(paths)
    if not logs:
        raise ForeignLogError(", ".join(map(str, paths)), "holds no log that can be read")
    names = condition_names(logs)
    matched = match(logs)
    if len(logs) > 1 and not any(_shared(matched)):
        raise ForeignLogError(
            ", ".join(log.file for log in logs), "have no item in common: nothing can be paired"
        )
    metrics = _metrics(matched.logs, metric, higher_is_better)
    experiment = Experiment(
        name or "imported-" + "-".join(dict.fromkeys(log.title for log in logs))[:60],
        dataset=_items(matched.logs),
        conditions=[
            Condition(label, call=_never, fingerprint=f"{log.tool} {log.version}: {log.sha256}")
            for label, log in zip(names, matched.logs, strict=True)
        ],
        metrics=metrics,
        hypotheses=_hypothesis(names, metrics[0], control, treatment, sesoi),
        repeats=1 + max(sample.repeat for log in matched.logs for sample in log.samples),
        description=f"Imported from {sources((log.tool, log.version) for log in logs)}.",
        tags=("imported",),
        seed=0,
    )
    folder = folder_of(experiment, directory)
    folder.prepare(experiment)
    folder.update(
        imported=_provenance(names, matched, declared=sesoi is not None), ended=now(),
        status="complete",
    )  # fmt: skip
    _journal(folder, experiment, names, matched)
    return folder.path


def condition_names(logs: Sequence[ForeignLog]) -> list[str]:
    """Name conditions by the first kind of name that tells all logs apart."""
    kinds = min(len(log.names) for log in logs)
    for kind in range(kinds):
        names = [log.names[kind] for log in logs]
        if len(set(names)) == len(names):
            return names
    return [f"{log.names[-1]} #{n}" for n, log in enumerate(logs, 1)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        found = sorted(
            file for pattern in ("*.eval", "samples_*.jsonl") for file in path.rglob(pattern)
        )
        if not found:
            raise ForeignLogError(str(path), "holds no .eval log and no samples_*.jsonl")
        yield from found
    elif path.suffix in (".eval", ".json", ".jsonl", ".csv"):
        if not path.is_file():
            raise ForeignLogError(str(path), "does not exist")
        yield path
    else:
        raise ForeignLogError(
            str(path), "is no log that can be read (.eval, .json, .jsonl, .csv, or a folder)"
        )


def _shared(matched: Matched) -> Iterator[bool]:
    for log, unmatched in zip(matched.logs, matched.unmatched, strict=True):
        yield len(set(unmatched)) < len({sample.item for sample in log.samples})


def _metrics(
    logs: Sequence[ForeignLog], wanted: str | None, higher_is_better: bool
) -> list[Metric]:
    better: dict[str, bool | None] = {}
    aliases: dict[str, str] = {}
    for log in logs:
        better |= log.metrics
        aliases |= log.aliases
    if wanted is not None and wanted not in better:
        if wanted not in aliases:
            raise ValueError(
                f"`metric` must be one of {', '.join(sorted({*better, *aliases}))}, got {wanted!r}"
            )
        wanted = aliases[wanted]
    if wanted is None:
        wanted = aliases.get("accuracy", "accuracy")
        wanted = wanted if wanted in better else next(iter(better))
    order = [wanted, *(name for name in better if name != wanted)]
    return [
        _metric(name, logs, _direction(better[name], higher_is_better if name == wanted else True))
        for name in order
    ]


def _direction(in_log: bool | None, told: bool) -> bool:
    return told if in_log is None else in_log


def _metric(name: str, logs: Sequence[ForeignLog], higher_is_better: bool) -> Metric:
    values = [s.scores[name] for log in logs for s in log.samples if s.scores.get(name) is not None]
    share = bool(values) and all(0 <= value <= 1 for value in values if value is not None)
    return Metric(
        name.replace(":", "_"),
        scorer=Recorded(name),
        higher_is_better=higher_is_better,
        unit="share" if share else "score",
        bounds=(0.0, 1.0) if share else None,
    )


class Recorded:
    """Stands for a scorer of the other tool: its scores are in the log, and are not made again."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, answered: Answered, item: ItemLike, /) -> float | None:
        """Raise: only the other tool can score."""
        raise TypeError(f"scores of {self.name!r} were recorded by another tool")

    def fingerprint(self) -> dict[str, str]:
        """Return that it was recorded, and its name there."""
        return {"recorded": self.name}


def _items(logs: Sequence[ForeignLog]) -> Any:
    from crucible_datasets import Dataset, Item
    from crucible_datasets.items import Provenance

    found: dict[str, ForeignSample] = {}
    for log in logs:
        for sample in log.samples:
            found.setdefault(sample.item, sample)
    items = [
        Item(id=s.item, input=s.input, expected=_plain(s.expected), metadata=dict(s.metadata))
        for s in found.values()
    ]
    return Dataset(items, name="imported", task="text", provenance=Provenance(kind="memory"))


def _hypothesis(
    names: Sequence[str],
    metric: Metric,
    control: str | None,
    treatment: str | None,
    sesoi: float | None,
) -> list[Hypothesis]:
    if (control is None) != (treatment is None):
        raise ValueError("`control` and `treatment` must be given together")
    if control is None or treatment is None:
        if len(names) != 2:
            return []
        control, treatment = names
    for role, value in (("control", control), ("treatment", treatment)):
        if value not in names:
            raise ValueError(f"`{role}` must be one of {', '.join(names)}, got {value!r}")
    if sesoi is None and metric.bounds != (0.0, 1.0):
        raise ValueError(
            f"`sesoi` must be given: {metric.name!r} is no share, so nothing says which "
            "difference matters"
        )
    return [
        Hypothesis(
            id="h1",
            metric=metric.name,
            treatment=treatment,
            control=control,
            sesoi=_SESOI if sesoi is None else sesoi,
            direction="two-sided",
        )
    ]


def _provenance(names: Sequence[str], matched: Matched, *, declared: bool) -> dict[str, Any]:
    return {
        "matched_by": matched.by,
        "sesoi_declared": declared,
        "logs": [
            {
                "condition": label,
                "tool": log.tool,
                "version": log.version,
                "file": log.file,
                "sha256": log.sha256,
                "samples": len(log.samples),
                "failed": sum(sample.error is not None for sample in log.samples),
                "unmatched": len(unmatched),
                "unmatched_items": list(unmatched[:20]),
                **log.facts,
            }
            for label, log, unmatched in zip(names, matched.logs, matched.unmatched, strict=True)
        ],
    }


def _journal(folder: Any, experiment: Experiment, names: Sequence[str], matched: Matched) -> None:
    """Write every sample as a finished cell; a run that was imported before is left as it is."""
    import anyio

    from crucible_harness.tables import Outcome

    async def write() -> None:
        journal = folder.open_journal(design=experiment.frozen)
        try:
            if journal.states():
                return
            position = 0
            for label, log in zip(names, matched.logs, strict=True):
                for sample in log.samples:
                    status = "ok" if sample.error is None else "error"
                    await journal.finish_cell(
                        Outcome.of(
                            _record(sample, position), condition=label, item=sample.item,
                            repeat=sample.repeat, status=status,
                        )
                    )  # fmt: skip
                    position += 1
            if journal.failure is not None:
                raise journal.failure
        finally:
            journal.close()

    anyio.run(write)


def _record(sample: ForeignSample, position: int) -> dict[str, Any]:
    """Return what a cell of a run would hold; `position` is the place in the log."""
    error = sample.error
    return {
        "position": position,
        "messages": [{"role": "user", "content": sample.input}],
        "output": sample.output,
        "answer": sample.output,
        "scores": {name.replace(":", "_"): value for name, value in sample.scores.items()},
        "calls": None,  # a log does not say how many it took
        "cost_usd": sample.cost_usd,
        "latency_s": sample.latency_s,
        "input_tokens": sample.input_tokens,
        "output_tokens": sample.output_tokens,
        "served_by": [] if sample.served_by is None else [sample.served_by],
        **(
            {}
            if error is None
            else {"error_class": error.partition("(")[0].partition(":")[0].strip()[:60],
                  "error_message": error}
        ),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | Mapping) else None


def _never(item: Any) -> str:
    raise RuntimeError("an imported run has no model to ask")

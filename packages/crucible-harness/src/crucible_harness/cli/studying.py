"""Commands of the ready-made studies: studies, study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crucible_harness.cli.arguments import (
    ALL,
    Concurrency,
    Data,
    Directory,
    Formats,
    Items,
    Json,
    print_json,
    read_formats,
)
from crucible_harness.cli.exits import BUDGET, BY_STATUS, messages

if TYPE_CHECKING:
    from crucible_ensemble import Model
    from crucible_harness.experiment import Experiment
    from crucible_harness.options import RunOptions
    from crucible_harness.studies import TailLatency, Trust
    from crucible_harness.studies.result import StudyResult


def studies(as_json: Json = False) -> None:
    """List the ready-made studies: what each asks, and what it needs."""
    with messages():
        from crucible_harness.studies.catalogue import STUDIES

        if as_json:
            print_json([card.to_dict() for card in STUDIES.values()])
        else:
            for card in STUDIES.values():
                typer.echo(f"{card.id:<4} {card.question} Needs {card.needs}.")
            typer.echo("\nOne of them: crucible study h3 --models local/smollm2")


def study(
    which: Annotated[
        str,
        typer.Argument(help="h1 to h6, rq6, or a study's TOML file.", metavar="STUDY"),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(help="Models, repeated or separated by commas; local/smollm2 by default."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the data set; demo-arithmetic by default.")
    ] = None,
    items: Items = None,
    data: Data = None,
    pairs: Annotated[
        int | None, typer.Option(min=40, help="h2: calls of which both copies are made.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help="h5: logprobs (the default), reported, verbalised or accuracy."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of an answer; 256 by default, 24 in h2.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Analyse this run and ask nobody.", metavar="RUN")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start whatever it may cost.")] = False,
    max_cost: Annotated[
        float | None, typer.Option(help="Spend at most that many US dollars.")
    ] = None,
    concurrency: Concurrency = None,
    directory: Directory = Path("runs"),
    formats: Formats = ALL,
    as_json: Json = False,
) -> None:
    """Carry out one of the ready-made studies and say what it found."""
    with messages():
        from crucible_harness.studies.catalogue import card_of
        from crucible_harness.studies.loading import RECORDS, load_study

        read_formats(formats)
        shown = _Shown(directory=directory, formats=formats, as_json=as_json)
        given: dict[str, Any] = {
            "models": models, "dataset": dataset, "items": items, "data": data, "pairs": pairs,
            "source": source, "max_tokens": max_tokens, "yes": yes or None, "max_cost": max_cost,
            "concurrency": concurrency,
        }  # fmt: skip
        if run is not None:
            from crucible_harness.studies import analyse

            _refuse(given, (), "an analysis of a run")
            found = analyse(run)
            if found.study != which:
                raise ValueError(f"`STUDY` of this run must be {found.study}, got {which!r}")
            shown.result(found, run / "study")
            return
        read: Any = None
        if which.endswith(".toml"):
            read = load_study(which)
            if isinstance(read, tuple):
                _refuse(given, _OF_FILES, "an experiment's file")
                read = load_study(which, items=items, data=data)
        elif card_of(which).id in dict(RECORDS):
            read = dict(RECORDS)[which]()
        if read is None:
            _refuse(given, (*_OF_VOTERS, *(("source",) if which == "h5" else ())), which)
            read = _experiment(
                which, _names(models), dataset=dataset, items=items, data=data, source=source,
                max_tokens=max_tokens or 256,
            )  # fmt: skip
        if isinstance(read, tuple):
            _ask(read, shown, yes=yes, max_cost=max_cost, concurrency=concurrency)
            return
        from crucible_harness.studies import TailLatency, Trust

        _refuse(given, _OF_PAIRS if isinstance(read, TailLatency) else (), which)
        if isinstance(read, TailLatency):
            _pairs(
                read, shown, _names(models),
                questions=_questions(dataset, items=items, data=data), pairs=pairs, yes=yes,
                max_cost=max_cost, concurrency=concurrency or 1, max_tokens=max_tokens or 24,
            )  # fmt: skip
        elif isinstance(read, Trust):
            shown.protocol(read)
        else:
            simulated = read.simulate()
            shown.result(simulated, directory / f"study-{simulated.study}")


_OF_FILES = ("items", "data", "yes", "max_cost", "concurrency")
_OF_VOTERS = (*_OF_FILES, "models", "dataset", "max_tokens")
_OF_PAIRS = (*_OF_VOTERS, "pairs")


def _refuse(given: dict[str, Any], taken: tuple[str, ...], what: str) -> None:
    for name, value in given.items():
        if value is not None and name not in taken:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"`{option}` must not be given for {what}, which does not use it")


def _names(models: list[str] | None) -> list[str]:
    return [name for text in models or ["local/smollm2"] for name in text.split(",") if name]


def _experiment(
    which: str,
    names: list[str],
    *,
    dataset: str | None,
    items: int | None,
    data: Path | None,
    source: str | None,
    max_tokens: int,
) -> "tuple[Experiment, RunOptions]":
    from crucible_harness.options import Limits, RunOptions
    from crucible_harness.studies import confidence_weights, ensemble_size, reliability
    from crucible_harness.studies.ways import WAYS

    logprobs = which == "h5" and source in (None, "logprobs")
    opened = {name: _open(name, logprobs=logprobs) for name in names}
    common: dict[str, Any] = {
        "dataset": _questions(dataset, items=items or 40, data=data),
        "prompts": WAYS if len(names) == 1 else None,
        "max_tokens": max_tokens,
    }
    if which == "h5":
        stated: Any = source or "logprobs"
        experiment = confidence_weights(opened, source=stated, **common)
    else:
        experiment = (reliability if which == "h1" else ensemble_size)(opened, **common)
    return experiment, RunOptions(
        per_provider={"local": Limits(concurrency=2)}, concurrency=4, timeout_s=120.0
    )


def _ask(
    asked: "tuple[Experiment, RunOptions]",
    shown: "_Shown",
    *,
    yes: bool,
    max_cost: float | None,
    concurrency: int | None,
) -> None:
    from dataclasses import replace

    from crucible_harness.cli.confirming import allowed
    from crucible_harness.report import report
    from crucible_harness.runner import run_sync
    from crucible_harness.studies import analyse
    from crucible_harness.studies.analysing import read_plan
    from crucible_harness.studies.asking import plan_of

    experiment, options = asked
    plan = plan_of(experiment.tags)
    if plan is None:
        raise ValueError(
            f"the tags of {experiment.name!r} must begin with 'crucible-study' and h1, h3 or h5: "
            "they hold the plan of the study. `crucible run` takes any experiment"
        )
    read_plan(*plan).check(items=len(experiment.dataset), voters=len(experiment.conditions))
    options = replace(options, directory=shown.directory)
    if concurrency is not None:
        options = replace(options, concurrency=concurrency)
    options = allowed(experiment, options, yes=yes, max_cost=max_cost)
    done = run_sync(experiment, options=options)
    if done.analysis is None:
        raise SystemExit(BY_STATUS[done.status])
    report(done.path, formats=read_formats(shown.formats))
    shown.result(analyse(done.path), done.path / "study")
    raise SystemExit(BY_STATUS[done.status])


def _pairs(
    study: "TailLatency",
    shown: "_Shown",
    names: list[str],
    *,
    questions: Any,
    pairs: int | None,
    concurrency: int,
    yes: bool,
    max_cost: float | None,
    max_tokens: int,
) -> None:
    import hashlib
    from dataclasses import replace

    import anyio

    from crucible_harness.cli.study_cost import allow_pairs, check_enough, say_stopped
    from crucible_harness.experiment import canonical
    from crucible_harness.fingerprints import structure
    from crucible_harness.studies.h2_tail_latency import FEWEST_PAIRS
    from crucible_hedging.shadow import ShadowLog

    if len(names) != 1:
        raise ValueError(f"`--models` must name one model for h2, got {', '.join(names)}")
    planned = study if pairs is None else replace(study, pairs=pairs)
    model = _open(names[0], logprobs=False)
    prompts = [item.input for item in questions]
    asked = canonical([structure(model), planned.to_dict(), prompts, max_tokens])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    folder = shown.directory / f"study-h2-{digest}"
    path = folder / "pairs.jsonl"
    made = len(ShadowLog.load(path)) if path.exists() else 0
    allow_pairs(
        planned.cost_at_most(model, prompts, made=made, max_tokens=max_tokens),
        calls=2 * max(planned.pairs - made, 0), model=names[0], yes=yes, max_cost=max_cost,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)

    async def collect() -> Any:
        return await planned.collect(
            model,
            prompts,
            path=path,
            concurrency=concurrency,
            max_tokens=max_tokens,
            max_cost_usd=max_cost,
        )

    log = anyio.run(collect)
    log.close()
    stopped = max_cost is not None and len(log) < planned.pairs
    check_enough(log, needed=FEWEST_PAIRS, stopped=stopped, path=path)
    shown.result(planned.analyse(log, simulated=bool(getattr(model, "simulated", False))), folder)
    if max_cost is not None and stopped:
        say_stopped(log, planned=planned.pairs, max_cost=max_cost)
        raise SystemExit(BUDGET)


class _Shown:
    """Where results go and how they are printed."""

    def __init__(self, *, directory: Path, formats: str, as_json: bool) -> None:
        self.directory, self.formats, self._as_json = directory, formats, as_json

    def result(self, found: "StudyResult", folder: Path) -> None:
        """Write the reports of a study and print what it found."""
        from crucible_harness.report import report

        files = report(found, formats=read_formats(self.formats), path=folder)
        listed = {name: str(path) for name, path in files.items()}
        if self._as_json:
            print_json({**found.to_dict(), "reports": listed})
            return
        if found.simulated:
            typer.echo("SIMULATED: no number here is about a real model.")
        typer.echo(f"{found.study}, {found.n:,} {found.unit}: {found.sentence}")
        for figure in found.figures:
            typer.echo(f"  {figure.name}: {figure}")
        for warning in found.warnings:
            typer.echo(f"Warning: {warning}")
        for name, path in listed.items():
            typer.echo(f"{name:>9}  {path}")

    def protocol(self, study: "Trust") -> None:
        """Write a protocol and its randomisation list."""
        from crucible_harness.report import report

        folder = self.directory / "study-h6"
        files = dict(report(study, formats=read_formats(self.formats), path=folder))
        listed = folder / "randomisation.csv"
        listed.write_text(study.randomisation_csv(), encoding="utf-8")
        paths = {**{str(name): str(path) for name, path in files.items()}, "list": str(listed)}
        if self._as_json:
            print_json({**study.to_dict(), "reports": paths})
            return
        typer.echo(f"{study.label}.")
        for name, path in paths.items():
            typer.echo(f"{name:>9}  {path}")


def _questions(name: str | None, *, items: int | None, data: Path | None) -> Any:
    from crucible_datasets import load, sample

    found = load(name or "demo-arithmetic", path=None if data is None else str(data))
    return found if items is None or items >= len(found) else sample(found, items, seed=0)


def _open(name: str, *, logprobs: bool) -> "Model":
    from crucible_ensemble import open_model
    from crucible_ensemble.aliases import resolve

    options: dict[str, Any] = {"logprobs": True} if logprobs else {}
    if resolve(name).startswith("local/"):
        options["parallel"] = 2
    return open_model(name, **options)

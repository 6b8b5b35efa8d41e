"""A study from its TOML file: an experiment, or the record of a study that is none."""

import difflib
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.errors import ConfigError
from crucible_harness.studies.h2_tail_latency import TailLatency
from crucible_harness.studies.h4_adaptive_hedging import AdaptiveHedging
from crucible_harness.studies.h6_trust import Trust
from crucible_harness.studies.rq6_methods import Methods

if TYPE_CHECKING:
    from crucible_harness.experiment import Experiment
    from crucible_harness.options import RunOptions

Record = TailLatency | AdaptiveHedging | Trust | Methods
RECORDS: tuple[tuple[str, type[Record]], ...] = (
    ("h2", TailLatency),
    ("h4", AdaptiveHedging),
    ("h6", Trust),
    ("rq6", Methods),
)


def load_study(
    path: Path | str, *, items: int | None = None, data: Path | str | None = None
) -> "Record | tuple[Experiment, RunOptions]":
    """Read a study.

    Parameters
    ----------
    path : path of a TOML file
        With `study = "h2"` and the fields of the study's record; any other file is an experiment.
    items, data
        As in `load_experiment`; of experiments only.

    Raises
    ------
    ConfigError
        If the file cannot be read, or has unknown keys or wrong values.
    """
    from crucible_harness.config import load_experiment

    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), (reason,)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), (f"not TOML: {error}",)) from error
    if "study" not in table:
        return load_experiment(path, items=items, data=data)
    kinds = dict(RECORDS)
    study = table.pop("study")
    if study not in kinds:
        raise ConfigError(str(path), (f"`study` must be one of {', '.join(kinds)}, got {study!r}",))
    for name, value in (("items", items), ("data", data)):
        if value is not None:
            raise ConfigError(str(path), (f"`{name}` is for experiments, {study} is none",))
    return _record(kinds[study], table, str(path))


def _record(kind: Any, table: dict[str, Any], path: str) -> Record:
    known = [field.name for field in fields(kind) if field.name != "worlds"]
    problems = []
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}"
            problems.append(f"unknown key `{key}`; {hint}")
    if problems:
        raise ConfigError(path, tuple(problems))
    try:
        made: Record = kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
        return made
    except (ValueError, TypeError) as error:
        raise ConfigError(path, (str(error),)) from error

"""A newcomer's first experiment: real weights on this machine, questions that need no download."""

from importlib import resources
from pathlib import Path

from crucible_harness.experiment import Experiment
from crucible_harness.options import RunOptions


def quickstart_experiment(*, items: int, directory: Path) -> tuple[Experiment, RunOptions]:
    """Return the experiment that `crucible quickstart` runs.

    Parameters
    ----------
    items : int, in [2, 162]
    directory : folder in which the run folder is made

    Raises
    ------
    ModelNotAvailableError
        If runtime or weights of the local model are not installed; the message says how.
    """
    from dataclasses import replace

    from crucible_harness.config import read_experiment

    file = resources.files("crucible_harness") / "quickstart.toml"
    text = file.read_text(encoding="utf-8")
    origin = {"toml": text, "directory": ".", "overrides": {"items": items, "data": None}}
    experiment, options = read_experiment(text, origin=origin, name="quickstart.toml")
    return experiment, replace(options, directory=directory)

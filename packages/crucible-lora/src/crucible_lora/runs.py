"""One training run on disk: its arguments, items, checkpoints and report."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.corpus import Corpus
from crucible_lora.errors import ResumeMismatchError
from crucible_lora.files import write_whole
from crucible_lora.formats import Formatter, format_from_dict
from crucible_lora.gradients import GradientHook, fresh_hook, hook_from_dict
from crucible_lora.loss_registry import loss_from_dict
from crucible_lora.options import TrainOptions
from crucible_lora.ports import LossFunction
from crucible_lora.results import TrainingReport
from crucible_lora.schemas import OutputSchema, schema_from_dict

_ARGUMENTS, _REPORT = "run.json", "report.json"
_FOLDER = re.compile(r"run-(\d{3,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A folder `run-001`, `run-002`, ... of an experiment."""

    path: Path
    arguments: Mapping[str, Any]

    @classmethod
    def start(cls, directory: Path, *, arguments: Mapping[str, Any], corpus: Corpus) -> Self:
        """Make the folder of a new run."""
        number = max((int(n) for n in _numbers(directory)), default=0)
        while True:
            number += 1
            path = directory / f"run-{number:03d}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:  # another process was quicker
                continue
            break
        corpus.write(path)
        text = json.dumps(arguments, sort_keys=True, ensure_ascii=False)
        write_whole(path / _ARGUMENTS, text)  # last: a run without it never began
        return cls(path=path, arguments=json.loads(text))

    @classmethod
    def latest(cls, directory: Path) -> Self | None:
        """Return the last run of an experiment that began."""
        for number in sorted(_numbers(directory), key=int, reverse=True):
            path = directory / f"run-{number}"
            if (path / _ARGUMENTS).is_file():
                return cls.open(path)
        return None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the run in a folder."""
        return cls(path=path, arguments=json.loads((path / _ARGUMENTS).read_text("utf-8")))

    @property
    def id(self) -> str:
        """Name of the run within its experiment."""
        return self.path.name

    @property
    def options(self) -> TrainOptions:
        """What `train` was asked for."""
        return TrainOptions.from_dict(self.arguments["options"])

    @property
    def format(self) -> Formatter | None:
        """How items became conversations; None for a formatter that cannot be stored."""
        stored = self.arguments["format"]
        return None if stored is None else format_from_dict(stored)

    def corpus(self) -> Corpus:
        """Return the items of the run."""
        return Corpus.read(self.path)

    def store(self, *, keep: int = 5) -> CheckpointStore:
        """Return the checkpoints of the run."""
        return CheckpointStore(self.path / "checkpoints", keep=keep)

    def loss(self, given: LossFunction | None) -> LossFunction:
        """Return the run's loss; one that is not stored must be given again."""
        stored = self.arguments["loss"]
        if "custom" not in stored and given is None:
            return loss_from_dict(stored)
        if given is None:
            raise ValueError(f"`loss` must be given again: {stored['name']!r} is not stored")
        if given.name != stored["name"]:
            raise ResumeMismatchError(["loss"])
        return given

    def hooks(self, given: Sequence[GradientHook] | None) -> list[GradientHook]:
        """Return the run's gradient hooks; those that are not stored must be given again."""
        stored = self.arguments["gradient_hooks"]
        names = [hook["name"] for hook in stored]
        if given is None:
            missing = [hook["name"] for hook in stored if "custom" in hook]
            if missing:
                raise ValueError(
                    f"`gradient_hooks` must be given again: {missing[0]!r} is not stored"
                )
            return [hook_from_dict(hook) for hook in stored]
        if [hook.name for hook in given] != names:
            raise ResumeMismatchError(["gradient_hooks"])
        return [fresh_hook(hook) for hook in given]

    def schema(self, given: OutputSchema | None) -> OutputSchema | None:
        """Return the run's schema; one that is not stored must be given again."""
        stored = self.arguments["output_schema"]
        if stored is None or given is not None:
            return given
        if "custom" in stored:
            raise ValueError("`schema` must be given again: it is not stored with the run")
        return schema_from_dict(stored)

    def write_report(self, report: TrainingReport) -> None:
        """Store the run's report."""
        text = json.dumps(report.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_whole(self.path / _REPORT, text)

    def report(self) -> TrainingReport | None:
        """Return the run's report, if it came to its end."""
        file = self.path / _REPORT
        if not file.is_file():
            return None
        return TrainingReport.from_dict(json.loads(file.read_text(encoding="utf-8")))


def _numbers(directory: Path) -> list[str]:
    if not directory.is_dir():
        return []
    found = (_FOLDER.fullmatch(p.name) for p in directory.iterdir())
    return [match[1] for match in found if match]

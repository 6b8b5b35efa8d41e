"""What can go wrong. Bad arguments raise `ValueError`; everything else is below.

DatasetsError
├── UnknownDatasetError       no benchmark has that name, and there is no source
├── DatasetUnavailableError   a known benchmark, but nothing could be reached
├── ReservedNameError         data of one's own under the name of a benchmark
├── ParseError                a line or field is not what the format promises
├── IntegrityError            not the published data: counts, digests, archives
├── CacheError                the cache folder cannot be read or written
├── LockMismatchError         the data differ from what the lock file pins
├── LockFrozenError           the lock file would have to change, and must not
├── PredictionError           predictions and items do not fit together
├── ExecutionRequiredError    the metric needs programs to have been run
├── ExecutionNotAllowedError  running model output was not allowed at the call
├── SandboxUnavailableError   this machine cannot give the isolation that was asked for
└── MissingExtraError         an optional dependency is not installed
"""

from collections.abc import Sequence
from typing import ClassVar


class DatasetsError(Exception):
    """Root of this package's errors."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __reduce__(self) -> tuple[object, ...]:
        if not self._fields:
            return type(self), self.args
        return type(self), tuple(getattr(self, name) for name in self._fields)


class UnknownDatasetError(DatasetsError):
    """No benchmark has that name, and neither path, URL nor hub id says where the data are."""

    _fields = ("name", "suggestions")

    def __init__(self, name: str, suggestions: Sequence[str]) -> None:
        self.name, self.suggestions = name, tuple(suggestions)
        near = ", ".join(repr(other) for other in self.suggestions)
        hint = f"; did you mean {near}?" if near else "."
        super().__init__(
            f"unknown data set {name!r}{hint} For data of your own give `path`, `url` or `hub`, "
            "and `fields`"
        )


class DatasetUnavailableError(DatasetsError):
    """Nothing could be reached; `attempts` says what was tried and why it failed."""

    _fields = ("name", "split", "attempts", "instruction")

    def __init__(
        self, name: str, split: str | None, attempts: Sequence[tuple[str, str]], instruction: str
    ) -> None:
        self.name, self.split, self.instruction = name, split, instruction
        self.attempts = tuple((str(what), str(why)) for what, why in attempts)
        tried = "".join(f"\n  {what}: {why}" for what, why in self.attempts)
        where = name if split is None else f"{name} ({split})"
        super().__init__(f"{where} could not be loaded{':' if tried else ''}{tried}\n{instruction}")


class ReservedNameError(DatasetsError):
    """A benchmark's name stands for its published items only."""

    _fields = ("name", "argument")

    def __init__(self, name: str, argument: str) -> None:
        self.name, self.argument = name, argument
        super().__init__(
            f"{name!r} is the name of a benchmark: `{argument}` cannot be given with it; "
            "load data of your own under a name of your own"
        )


class ParseError(DatasetsError):
    """A line or field is not what the format promises; nothing of the file is returned."""

    _fields = ("file", "line", "reason")

    def __init__(self, file: str, line: int | None, reason: str) -> None:
        self.file, self.line, self.reason = file, line, reason
        super().__init__(f"{file}, line {line}: {reason}" if line else f"{file}: {reason}")


class IntegrityError(DatasetsError):
    """The data are not the published ones."""

    _fields = ("what", "expected", "found")

    def __init__(self, what: str, expected: object, found: object) -> None:
        self.what, self.expected, self.found = what, expected, found
        super().__init__(f"{what}: expected {expected}, found {found}")


class CacheError(DatasetsError):
    """The cache folder cannot be read or written."""

    _fields = ("path", "reason")

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"cache {path!r}: {reason}; set CRUCIBLE_DATASETS_CACHE or pass `cache` to use "
            "another folder, or `path` to load without a cache"
        )


class LockMismatchError(DatasetsError):
    """The data differ from what the lock file pins."""

    _fields = ("name", "field", "locked", "found")

    def __init__(self, name: str, field: str, locked: object, found: object) -> None:
        self.name, self.field, self.locked, self.found = name, field, locked, found
        super().__init__(
            f"{name}: `{field}` differs from the lock file: locked {locked}, found {found}; "
            "`update_lock` is the deliberate way to change it"
        )


class LockFrozenError(DatasetsError):
    """CRUCIBLE_DATASETS_FROZEN=1 forbids writing the lock file."""

    _fields = ("path", "name")

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name
        super().__init__(
            f"{name} is not in the lock file {path!r}, and CRUCIBLE_DATASETS_FROZEN forbids "
            "writing it"
        )


class PredictionError(DatasetsError):
    """Predictions and items do not fit together; `ids` holds the first five."""

    _fields = ("reason", "ids")

    def __init__(self, reason: str, ids: Sequence[str]) -> None:
        self.reason, self.ids = reason, tuple(ids)[:5]
        super().__init__(f"{reason}: {', '.join(self.ids)}")


class ExecutionRequiredError(DatasetsError):
    """The metric counts programs that passed, and none were run."""

    _fields = ("metric",)

    def __init__(self, metric: str) -> None:
        self.metric = metric
        super().__init__(
            f"{metric} needs the programs to be run: executions = run_code_sync(dataset, "
            "predictions, sandbox=SubprocessSandbox(), allow_execution=True), then "
            "evaluate(predictions, dataset, executions=executions)"
        )


class ExecutionNotAllowedError(DatasetsError):
    """Model output is untrusted: running it must be allowed where it is run."""

    def __init__(self) -> None:
        super().__init__(
            "running model output must be allowed at the call: pass allow_execution=True"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class SandboxUnavailableError(DatasetsError):
    """The machine cannot give the isolation that was asked for."""

    _fields = ("missing", "reason")

    def __init__(self, missing: Sequence[str], reason: str) -> None:
        self.missing, self.reason = tuple(missing), reason
        super().__init__(
            f"strict isolation is not available, {', '.join(self.missing)} failed ({reason}); "
            'use isolation="best", or a sandbox of your own such as a container'
        )


class MissingExtraError(DatasetsError):
    """An optional dependency is not installed."""

    _fields = ("feature", "extra")

    def __init__(self, feature: str, extra: str) -> None:
        self.feature, self.extra = feature, extra
        super().__init__(f'{feature} needs an extra: pip install "crucible-datasets[{extra}]"')

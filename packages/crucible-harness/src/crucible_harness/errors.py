"""What can go wrong, readable at the top.

HarnessError
    ConfigError            a configuration file cannot be used; every problem in it is named
    NotARunError           the folder holds no run
    DesignMismatchError    the run in the folder has another design
    JournalLockedError     another live process runs this experiment
    JournalWriteError      a finished call could not be written down (disk full?)
    JournalCorruptError    a row does not follow from the rows before it
    MetricUnavailableError a metric that no cell can have
    FingerprintError       it cannot be said what a model or function is
    ContaminationError     worked examples of a prompt are among the items
    ProviderRefusedError   key, model or permission: no further call could succeed
    UnreachableModelError  a server that never answered cannot be reached
    PreregistrationError   the experiment is not the one that was preregistered
    NotComparableError     runs that cannot be pooled, because they ask different questions
"""


class HarnessError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


class ConfigError(HarnessError):
    """A configuration file that cannot be used; every problem in it is named."""

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        self.path, self.problems = path, problems
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path}:{listed if len(problems) > 1 else f' {problems[0]}'}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.problems)


class NotARunError(HarnessError):
    """The folder holds no run, or a file of it is missing or damaged."""


class DesignMismatchError(HarnessError):
    """The run in the folder has another design; `fields` names what differs."""

    def __init__(self, folder: str, fields: tuple[str, ...]) -> None:
        self.folder, self.fields = folder, fields
        super().__init__(f"{folder!r} holds a run of another design; it differs in {fields}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.folder, self.fields)


class JournalLockedError(HarnessError):
    """Another live process is running this experiment."""

    def __init__(self, folder: str, holder: str) -> None:
        self.folder, self.holder = folder, holder
        super().__init__(f"{folder!r} is being run by another process ({holder})")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.folder, self.holder)


class JournalWriteError(HarnessError):
    """A finished call could not be written down, for example because the disk is full."""


class JournalCorruptError(HarnessError):
    """A row of the journal is not what was written."""


class MetricUnavailableError(HarnessError):
    """A metric that no cell can have."""


class FingerprintError(HarnessError):
    """It cannot be said what a model or function is, so two designs could not be told apart."""


class ContaminationError(HarnessError):
    """Worked examples of a prompt are among the items that are asked; `ids` names these."""

    def __init__(self, ids: tuple[str, ...]) -> None:
        self.ids = ids
        super().__init__(f"worked examples are among the items that are asked: {', '.join(ids)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.ids,)


class RedundantRepeatsWarning(UserWarning):
    """Repeats that can only give the same answers again: cost without information."""


class ProviderRefusedError(HarnessError):
    """The provider refused in a way that no further call would change: key, model, permission."""


class UnreachableModelError(HarnessError):
    """A server that has not answered once cannot be reached."""


class PreregistrationError(HarnessError):
    """The experiment is not the one in the file; `fields` names what differs."""

    def __init__(self, path: str, fields: tuple[str, ...], reason: str | None = None) -> None:
        self.path, self.fields, self.reason = path, fields, reason
        said = reason or f"the experiment differs in {', '.join(fields)}"
        super().__init__(f"preregistration {path!r}: {said}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.fields, self.reason)


class NotComparableError(HarnessError):
    """A run that cannot be pooled with the others; `field` says in what it differs."""

    def __init__(self, run: str, field: str, reason: str) -> None:
        self.run, self.field, self.reason = run, field, reason
        super().__init__(f"{run!r} {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.run, self.field, self.reason)

"""What can go wrong, readable at the top.

HarnessError
    ConfigError            a configuration file cannot be used; every problem in it is named
    NotARunError           the folder holds no run
    DesignMismatchError    the run in the folder has another design
    JournalLockedError     another live process runs this experiment
    JournalWriteError      a finished call could not be written down (disk full?)
    JournalCorruptError    a row does not follow from the rows before it
    JournalVersionError    another version of this package wrote the journal
    NotPicklableError      a model cannot travel to another process
    BudgetExceededError    the next call does not fit the budget, and that was to be an error
    HookError              a hook raised, and hooks were to be strict
    RunAbortedError        a hook asked for the end of the run
    MetricUnavailableError a metric that no cell can have
    FingerprintError       it cannot be said what a model or function is
    ContaminationError     worked examples of a prompt are among the items
    ProviderRefusedError   key, model or permission: no further call could succeed
    UnreachableModelError  a server that never answered cannot be reached
    PreregistrationError   the experiment is not the one that was preregistered
    ForeignLogError        a log of another tool that cannot be read, or used
    NotConfirmedError      the estimate was shown, and declined
    NotComparableError     runs that cannot be pooled, because they ask different questions
"""

from dataclasses import dataclass


class HarnessError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong in a file.

    Attributes
    ----------
    text : str
        All of it in one sentence.
    line : int or None
        Counted from 1; None where it is not known.
    key : str or None
        Such as "conditions.0.model"; None where no key is at fault, or several are together.
    rule : str or None
        What holds for the key.
    value : object
        What stands there.
    """

    text: str
    line: int | None = None
    key: str | None = None
    rule: str | None = None
    value: object = None

    def __str__(self) -> str:
        return self.text


class ConfigError(HarnessError):
    """A configuration file that cannot be used; every problem in it is named.

    Attributes
    ----------
    path : str
    problems : tuple of Problem
    """

    def __init__(self, path: str, problems: "tuple[Problem | str, ...]") -> None:
        self.path = path
        self.problems = tuple(Problem(text=p) if isinstance(p, str) else p for p in problems)
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
    """Another live process is running this experiment; its `pid` and `host`, where known."""

    def __init__(self, folder: str, *, pid: int | None, host: str | None) -> None:
        self.folder, self.pid, self.host = folder, pid, host
        where = "" if pid is None else f" ({pid} on {host or 'an unknown host'})"
        super().__init__(f"{folder!r} is being run by another process{where}")

    def __reduce__(self) -> tuple[object, ...]:
        return _locked, (self.folder, self.pid, self.host)


def _locked(folder: str, pid: int | None, host: str | None) -> JournalLockedError:
    return JournalLockedError(folder, pid=pid, host=host)


class JournalWriteError(HarnessError):
    """A finished call could not be written down, for example because the disk is full."""


class JournalCorruptError(HarnessError):
    """A row of the journal is not what was written, or the file is no journal at all.

    `table` and `row` name the first such row; None where no row can be read.
    """

    def __init__(
        self,
        journal: str,
        *,
        table: str | None = None,
        row: int | None = None,
        reason: str | None = None,
    ) -> None:
        self.journal, self.table, self.row, self.reason = journal, table, row, reason
        why = reason or f"{table} row {row} is not what was written"
        super().__init__(f"{journal!r} is damaged: {why}")

    def __reduce__(self) -> tuple[object, ...]:
        return _corrupt, (self.journal, self.table, self.row, self.reason)


def _corrupt(
    journal: str, table: str | None, row: int | None, reason: str | None
) -> JournalCorruptError:
    return JournalCorruptError(journal, table=table, row=row, reason=reason)


class JournalVersionError(HarnessError):
    """Another version of this package wrote the journal; it is left as it is."""

    def __init__(self, journal: str, *, found: str, known: str) -> None:
        self.journal, self.found, self.known = journal, found, known
        super().__init__(
            f"{journal!r} is a journal of version {found!r}; this package reads {known!r}. It was "
            "not changed"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _version, (self.journal, self.found, self.known)


def _version(journal: str, found: str, known: str) -> JournalVersionError:
    return JournalVersionError(journal, found=found, known=known)


class NotPicklableError(HarnessError):
    """A model cannot travel to another process; nothing has been sent."""

    def __init__(self, model: str, reason: str) -> None:
        self.model, self.reason = model, reason
        super().__init__(f"model {model!r} cannot be pickled, which an actor needs: {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.model, self.reason)


class BudgetExceededError(HarnessError):
    """The next call does not fit the budget, and `on_exceed` is "raise"."""


class HookError(HarnessError):
    """A hook raised, and hooks are strict."""


class RunAbortedError(HarnessError):
    """A hook asked for the end of the run."""


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


class ForeignLogError(HarnessError):
    """A log of another tool that cannot be read, or used: `file` is its name."""

    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"{file!r} {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.file, self.reason)


class RedundantRepeatsWarning(UserWarning):
    """Repeats that can only give the same answers again: cost without information."""


class ProviderRefusedError(HarnessError):
    """Refused in a way that no further call would change: key, permission, model, option."""


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


class NotConfirmedError(HarnessError):
    """The estimate was shown and declined; nothing was sent."""


class NotComparableError(HarnessError):
    """A run that cannot be pooled with the others; `field` says in what it differs."""

    def __init__(self, run: str, field: str, reason: str) -> None:
        self.run, self.field, self.reason = run, field, reason
        super().__init__(f"{run!r} {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.run, self.field, self.reason)

"""What can go wrong: BenchError > PseudoReplication, UnmatchedPairs, Degenerate, MissingExtra."""


class BenchError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


class PseudoReplicationError(BenchError):
    """The same item appears more than once as if it were several independent observations."""

    def __init__(self, duplicates: tuple[str, ...], advice: str) -> None:
        self.duplicates = duplicates
        self.advice = advice
        shown = ", ".join(duplicates[:5])
        super().__init__(f"{len(duplicates)} item ids are repeated ({shown}): {advice}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.duplicates, self.advice)


class UnmatchedPairsError(BenchError):
    """A paired comparison got items that only one arm has."""

    def __init__(self, only_control: tuple[str, ...], only_treatment: tuple[str, ...]) -> None:
        self.only_control = only_control
        self.only_treatment = only_treatment
        super().__init__(
            f"{len(only_control)} items only in control ({', '.join(only_control[:5])}), "
            f"{len(only_treatment)} only in treatment ({', '.join(only_treatment[:5])}); "
            'pass missing="drop" to compare the common ones'
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.only_control, self.only_treatment)


class DegenerateDataError(BenchError):
    """The data cannot answer at all, whatever the method."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason,)


class MissingExtraError(BenchError):
    """A function needs an optional dependency that is not installed."""

    def __init__(self, extra: str) -> None:
        self.extra = extra
        super().__init__(f'install "{extra}" to use this function')

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.extra,)

"""What can go wrong, readable at the top: DatasetError > the named cases."""


class DatasetError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


class DatasetUnavailableError(DatasetError):
    """There is no source to load from; the message says how to get one."""


class DatasetFormatError(DatasetError):
    """A line or field is not what the format promises."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        self.path, self.line, self.reason = path, line, reason
        super().__init__(f"{path}, line {line}: {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path, self.line, self.reason)


class IntegrityError(DatasetError):
    """The file is not the published one: another number of items."""

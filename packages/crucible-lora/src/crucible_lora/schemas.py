"""Whether a text is what it was to be: strictly, without repair."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from crucible_lora.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed(Record):
    """A text as data; `errors` says why `ok` is False."""

    ok: bool
    value: Any
    errors: tuple[str, ...] = ()


class OutputSchema(Protocol):
    """The form that a model's outputs must have."""

    def parse(self, text: str, /) -> Parsed:
        """Return the text as data. It never raises: the text is a model's."""
        ...


class JsonSchema:
    """The whole text is one JSON value that a schema (draft 2020-12) accepts.

    Prose around the value, a key given twice, and NaN or Infinity are errors.

    Parameters
    ----------
    schema : mapping
    allow_fence : bool
        Accept the value within a Markdown code fence too.

    Raises
    ------
    ValueError
        If the schema itself is not valid.
    """

    def __init__(self, schema: Mapping[str, Any], *, allow_fence: bool = False) -> None:
        import jsonschema

        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"`schema` must be a JSON schema: {error.message}") from error
        self._schema = dict(schema)
        self._fence = allow_fence
        self._validator = jsonschema.Draft202012Validator(self._schema)

    def __repr__(self) -> str:
        return f"JsonSchema({self._schema!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        return {"json_schema": self._schema, "allow_fence": self._fence}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "JsonSchema":
        """Read what `to_dict` wrote."""
        return cls(data["json_schema"], allow_fence=data["allow_fence"])

    def parse(self, text: str, /) -> Parsed:
        """Return the text as data."""
        stripped = text.strip()
        if self._fence:
            stripped = _unfenced(stripped)
        try:
            value = json.loads(stripped, object_pairs_hook=_unique, parse_constant=_refuse)
            errors = sorted(error.message for error in self._validator.iter_errors(value))
        except (ValueError, RecursionError) as error:
            return Parsed(ok=False, value=None, errors=(str(error),))
        return Parsed(ok=not errors, value=value, errors=tuple(errors))


def _unfenced(text: str) -> str:
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is given twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

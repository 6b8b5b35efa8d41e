"""Whether a text is what it was to be: strictly, without repair."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from crucible_lora.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Record):
    """Something that an output states, with the ids of what it cites.

    `text` is None where the output has no words of its own for it, but judges the item's input.
    """

    id: str
    text: str | None
    citations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed(Record):
    """A text as data; `errors` says why `ok` is False."""

    ok: bool
    value: Any
    claims: tuple[Claim, ...] = ()
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
    citations : str, optional
        The key of the object whose value, an id or a list of them, is what the output cites. The
        output is one claim then, about the item's input.
    allow_fence : bool
        Accept the value within a Markdown code fence too.

    Raises
    ------
    ValueError
        If the schema itself is not valid.
    """

    def __init__(
        self,
        schema: Mapping[str, Any],
        *,
        citations: str | None = None,
        allow_fence: bool = False,
    ) -> None:
        import jsonschema

        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"`schema` must be a JSON schema: {error.message}") from error
        if citations is not None and not citations:
            raise ValueError(f"`citations` must be a key, got {citations!r}")
        self._schema = dict(schema)
        self.citations = citations
        self._fence = allow_fence
        self._validator = jsonschema.Draft202012Validator(self._schema)

    def __repr__(self) -> str:
        return f"JsonSchema({self._schema!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        return {
            "json_schema": self._schema,
            "citations": self.citations,
            "allow_fence": self._fence,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "JsonSchema":
        """Read what `to_dict` wrote."""
        return cls(
            data["json_schema"], citations=data["citations"], allow_fence=data["allow_fence"]
        )

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
        return Parsed(
            ok=not errors,
            value=value,
            claims=() if errors else self._claims(value),
            errors=tuple(errors),
        )

    def _claims(self, value: Any) -> tuple[Claim, ...]:
        if self.citations is None:
            return ()
        cited = value.get(self.citations) if isinstance(value, dict) else None
        many = cited if isinstance(cited, list) else [] if cited is None else [cited]
        return (Claim(id="1", text=None, citations=tuple(dict.fromkeys(map(str, many)))),)


class LinePattern:
    """Each line that is not blank matches a pattern as a whole, and no claim's id comes twice.

    Parameters
    ----------
    regex : str
    groups : sequence of {"id", "text", "citation"}
        What each group of the pattern is; "id" and "text" must be among them.

    Raises
    ------
    ValueError
        If the pattern is none, or has another number of groups.

    Notes
    -----
    A text without a line is no text of that form. Which claims are expected is known from the
    item's answer: an output that leaves one out does not comply either (`schema_compliance`).
    """

    def __init__(self, regex: str, groups: Sequence[str]) -> None:
        try:
            self._pattern = re.compile(regex)
        except re.error as error:
            raise ValueError(f"`regex` must be a regular expression: {error}") from error
        self._groups = tuple(groups)
        known = {"id", "text", "citation"}
        whole = set(self._groups) <= known and len(set(self._groups)) == len(self._groups)
        if not (whole and {"id", "text"} <= set(self._groups)):
            raise ValueError(f"`groups` must be id, text and perhaps citation, got {self._groups}")
        if self._pattern.groups != len(self._groups):
            raise ValueError(
                f"`groups` must name the {self._pattern.groups} groups of the pattern, got "
                f"{self._groups}"
            )

    def __repr__(self) -> str:
        return f"LinePattern({self._pattern.pattern!r}, {self._groups!r})"

    @property
    def cites(self) -> bool:
        """Whether its lines name what they cite."""
        return "citation" in self._groups

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        return {"regex": self._pattern.pattern, "groups": list(self._groups)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LinePattern":
        """Read what `to_dict` wrote."""
        return cls(data["regex"], data["groups"])

    def parse(self, text: str, /) -> Parsed:
        """Return the text as data; its value is a list of claims as mappings."""
        claims, errors = [], []
        for line in (line.strip() for line in text.split("\n")):
            match = self._pattern.fullmatch(line)
            if match is not None:
                found = dict(zip(self._groups, match.groups(), strict=True))
                cited = found.get("citation")
                claims.append(
                    Claim(
                        id=found["id"] or "",
                        text=found["text"] or "",
                        citations=() if cited is None else (cited,),
                    )
                )
            elif line:
                errors.append(f"no claim: {line[:80]!r}")
        ids = [claim.id for claim in claims]
        errors += [
            f"claim {name!r} comes twice" for name in dict.fromkeys(ids) if ids.count(name) > 1
        ]
        if not claims:
            errors.append("there is no claim")
        value = [{"id": c.id, "text": c.text, "citations": list(c.citations)} for c in claims]
        return Parsed(ok=not errors, value=value, claims=tuple(claims), errors=tuple(errors))


CLAIM_LINES = LinePattern(
    r"CLAIM\[c(\d+)\]:\s*(.+?)\s*\(citing\s+(\d+)\)", ("id", "text", "citation")
)


def cites(schema: OutputSchema) -> bool:
    """Return whether outputs of a schema can cite; one that is not of this package may."""
    if isinstance(schema, JsonSchema):
        return schema.citations is not None
    return schema.cites if isinstance(schema, LinePattern) else True


def schema_to_dict(schema: OutputSchema | None) -> dict[str, Any] | None:
    """Return a schema as a mapping; one that is not of this package leaves a mark alone."""
    if schema is None:
        return None
    return schema.to_dict() if isinstance(schema, JsonSchema | LinePattern) else {"custom": True}


def schema_from_dict(data: Mapping[str, Any]) -> OutputSchema:
    """Read what `schema_to_dict` wrote of a schema of this package."""
    return LinePattern.from_dict(data) if "regex" in data else JsonSchema.from_dict(data)


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

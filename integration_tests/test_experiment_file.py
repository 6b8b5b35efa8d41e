"""docs/experiment-file.md names every key that a file may hold, and its default."""

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin

import pytest
from pages import DOCS
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from crucible_harness import voting
from crucible_harness.schema import ExperimentTable, FieldsTable

PAGE = DOCS / "experiment-file.md"
# The default is not a value of the file: what holds then is said in words.
IN_WORDS = {"prompt", "models", "design", "conditions", "limits", "options", "retries", "errors",
            "fatal", "samples", "logprobs"}  # fmt: skip


def tables(kind: type[BaseModel] = ExperimentTable, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each table of a file with its place, such as "conditions.hedge", and its class."""
    yield place, kind
    for name, field in kind.model_fields.items():
        inner = table_in(field.annotation)
        if inner is None:
            continue
        named = {"models": ".NAME", "limits": ".PROVIDER"}.get(name, "")
        at = f"{place}.{name}{named}" if place else f"{name}{named}"
        if at not in ("prompt.few_shot.dataset", "conditions.prompt"):  # the same keys again
            yield from tables(inner, at)


def table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(table_in, get_args(annotation))), None)


def rows(heading: str) -> dict[str, str]:
    """Return the keys of the table under a heading, each with the cell behind it."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert found, f"{PAGE.name} has no section {heading!r}"
    lines = [
        line.strip("| ").split(" | ", 2) for line in found[1].splitlines() if line[:3] == "| `"
    ]
    return {
        key: cells[1].strip(" |") if len(cells) > 1 else ""
        for cells in lines
        for key in re.findall(r"`(\w+)`", cells[0])
    }


# Votes, executions and stops have sections of their own.
FILES = [(place, kind) for place, kind in tables() if not issubclass(kind, voting._Choice)]


@pytest.mark.parametrize(("place", "kind"), FILES, ids=lambda one: one if one else None)
def test_every_key_of_a_table_is_on_the_page_with_its_default(place, kind):
    arrays = ("conditions", "hypotheses", "hypotheses.criteria", "slo")
    heading = "The top of the file" if not place else f"`[{place}]`"
    shown = rows(f"`[[{place}]]`" if place in arrays else heading)
    assert set(shown) == set(kind.model_fields)
    for name, field in kind.model_fields.items():
        cell = shown[name]
        if field.default is PydanticUndefined:
            assert cell == "required", name
        elif field.default is None or name in IN_WORDS:
            assert "required" not in cell, name
        elif isinstance(field.default, voting._Choice):
            assert cell == f'`"{field.default.name}"`', name
        else:
            as_toml = json.dumps(field.default)
            assert cell.strip("`") == as_toml or (field.default in ([], {}) and not cell), name


def options(kind: Any) -> dict[str, Any]:
    return {f.name: None if f.default is MISSING else f.default for f in fields(kind)}


@pytest.mark.parametrize(
    ("heading", "known"), [("Votes", voting._VOTES), ("Executions", voting._EXECUTIONS)]
)
def test_every_vote_and_execution_is_on_the_page_with_its_options(heading, known):
    shown = rows(heading)
    stops = {"posterior": {"target", "classes"}, "sprt": {"alpha", "beta", "classes"}}
    for name, kind in {**known, **(voting._STOPS if heading == "Executions" else {})}.items():
        said = set(re.findall(r"`(\w+)`(?= =|;|,|$)", shown[name]))
        accepted = stops.get(name, set(options(kind)))
        accepted |= {"hedge"} if name == "hedged" else set()  # of the condition, in their place
        assert said == accepted, name
        for option, default in options(kind).items():
            value = re.search(rf"`{option}` = (?:`\"([^`]*)\"`|([\d.]+))", shown[name])
            if value:
                in_file = "given" if (name, option) == ("cascade", "order") else default
                assert (value[1] or float(value[2])) == in_file, (name, option)


def test_the_names_in_a_schema_and_on_the_page_are_read():
    assert rows("`[dataset.fields]`") == {
        "input": '`"input"`', "expected": '`"expected"`', "id": "numbered", "metadata": "`[]`",
    }  # fmt: skip
    assert dict(tables())["dataset.fields"] is FieldsTable


def test_the_page_loads_every_vote_every_execution_and_every_stop():
    text = PAGE.read_text(encoding="utf-8")
    for name in {*voting._VOTES, *voting._EXECUTIONS, *voting._STOPS} - {"parallel", "decided"}:
        assert re.search(rf'(vote|execution|name) = "{name}"', text), name

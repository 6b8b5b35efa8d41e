"""Conditions of a configuration file that stand for one condition per combination of levels."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any


def expand(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's table in which every condition with a `grid` is written out.

    Notes
    -----
    `{factor}` in a text is replaced by the level; a text that is nothing but `{factor}` becomes the
    level with its own type. The levels are the condition's `factors`.
    """
    conditions = table.get("conditions")
    if not isinstance(conditions, list):
        return dict(table)
    return {**table, "conditions": [made for one in conditions for made in _written_out(one)]}


def _written_out(condition: Any) -> Iterator[Any]:
    grid = condition.get("grid") if isinstance(condition, Mapping) else None
    if not isinstance(grid, Mapping) or not all(isinstance(v, list) and v for v in grid.values()):
        yield condition
        return
    rest = {name: value for name, value in condition.items() if name != "grid"}
    for levels in product(*grid.values()):
        at = dict(zip(grid, levels, strict=True))
        filled = _filled(rest, at)
        yield {**filled, "factors": {**filled.get("factors", {}), **at}}


def _filled(value: Any, at: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(part, at) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, at) for part in value]
    if not isinstance(value, str):
        return value
    for factor, level in at.items():
        if value == f"{{{factor}}}":
            return level
        value = value.replace(f"{{{factor}}}", str(level))
    return value

"""How a run is carried out, as tables of a file; what a file cannot say is refused."""

from dataclasses import MISSING, fields
from typing import Any

from crucible_harness.options import Budget, RunOptions

# They belong to one call and not to the experiment: arguments of `run`, and of the command.
_OF_THE_CALL = (
    "directory", "journal", "hooks", "executor", "retry_failed", "telemetry", "prereg", "progress",
    "confirm", "clock", "allow_dirty",
)  # fmt: skip
_IN_OPTIONS = ("concurrency", "timeout_s", "deadline_s", "durability", "trace")
_DEFAULT_OF_A_FILE = {"trace": True}  # a file's run is drawn, one from Python only on request


def options_tables(options: RunOptions) -> dict[str, Any]:
    """Return the tables for everything that differs from the defaults of a file.

    Raises
    ------
    ValueError
        If a file cannot say it: it names the option.
    """
    default = RunOptions()
    for name in _OF_THE_CALL:
        if getattr(options, name) != getattr(default, name):
            raise ValueError(
                f"`options` in a file cannot say `{name}`: it is said where the run is started"
            )
    if options.timeout_s is None:
        raise ValueError("`options` in a file cannot say `timeout_s` None")
    said = {
        name: getattr(options, name)
        for name in _IN_OPTIONS
        if getattr(options, name) != _DEFAULT_OF_A_FILE.get(name, getattr(default, name))
    }
    for name in ("retries", "errors"):
        changed = _changed(getattr(options, name))
        said |= {name: changed} if changed else {}
    # Limits that are all default ones still say that the provider has limits of its own.
    limits = {provider: _changed(one) for provider, one in options.per_provider.items()}
    tables = {
        "options": said,
        "budget": {} if options.budget is None else _budget(options.budget),
        "limits": limits,
        "slo": [objective.to_dict() for objective in options.slo],
    }
    return {name: table for name, table in tables.items() if table}


def _budget(budget: Budget) -> dict[str, Any]:
    said = _changed(budget)
    if "assume_price" in said:
        said["assume_price"] = {
            name: list(price) if isinstance(price, tuple) else price
            for name, price in budget.assume_price.items()
        }
    return said


def _changed(record: Any) -> dict[str, Any]:
    """Return the fields of a record that differ from their defaults."""
    said = {}
    for field in fields(record):
        if not field.init:
            continue
        value = getattr(record, field.name)
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        if value != default:
            said[field.name] = list(value) if isinstance(value, tuple) else value
    return said

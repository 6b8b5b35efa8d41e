"""Commands about what is there: datasets, models, doctor."""

import typer

from crucible_harness.cli.arguments import Json, print_json
from crucible_harness.cli.exits import messages


def datasets(as_json: Json = False) -> None:
    """List the data sets that can be named, and where each comes from."""
    with messages():
        from crucible_harness.cli.screen import show_table
        from crucible_harness.stock import known_datasets

        cards = known_datasets()
        if as_json:
            print_json(cards)
        else:
            show_table(
                ("data set", "task", "items", "licence", "available"),
                [
                    (c["name"], c["task"], c["items"], c["license"] or "not stated", c["available"])
                    for c in cards
                ],
            )


def models(as_json: Json = False) -> None:
    """List aliases, providers, prices with their date, and which keys are set."""
    with messages():
        from crucible_harness.cli.screen import show_table
        from crucible_harness.stock import known_models

        found = known_models()
        if as_json:
            print_json(found)
            return
        show_table(("alias", "model"), list(found["aliases"].items()))
        typer.echo()
        show_table(
            (f"model (prices of {found['prices_as_of']})", "in, $ per 1M", "out, $ per 1M"),
            [(name, f"{i:g}", f"{o:g}") for name, (i, o) in found["prices"].items()],
        )
        typer.echo()
        show_table(
            ("key", ""), [(k, "set" if there else "not set") for k, there in found["keys"].items()]
        )


def doctor(as_json: Json = False) -> None:
    """Check installation, disk, extras and the local model."""
    with messages():
        from crucible_harness.doctor import examine

        checks = examine()
        if as_json:
            print_json([check.to_dict() for check in checks])
        else:
            for check in checks:
                typer.echo(f"{check.state:<8} {check.name}: {check.detail}")
        raise SystemExit(1 if any(check.state == "failed" for check in checks) else 0)

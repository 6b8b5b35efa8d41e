"""The `crucible` command."""


def main() -> None:
    """Run the command and exit with its code."""
    from crucible_harness.cli.app import app

    app()

"""The `crucible` command."""


def main() -> None:
    """Run the command."""

"""Sums and differences that this package makes up, and labels as generated."""

from collections.abc import Iterator

from crucible_datasets.items import Item


def arithmetic() -> Iterator[Item]:
    """Yield 81 sums and 81 differences of numbers up to 18."""
    for a in range(1, 10):
        for b in range(1, 10):
            yield Item(
                id=f"demo-arithmetic/sum-{a}-{b}",
                input=f"What is {a} + {b}? Answer with the number only.",
                expected=str(a + b),
                metadata={"operation": "sum"},
            )
    for a in range(1, 10):
        for b in range(1, 10):
            yield Item(
                id=f"demo-arithmetic/difference-{a}-{b}",
                input=f"What is {a + b} - {b}? Answer with the number only.",
                expected=str(a),
                metadata={"operation": "difference"},
            )

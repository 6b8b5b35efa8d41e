"""pass@k: the chance that at least one of k programs passes, without bias."""

from collections import defaultdict
from collections.abc import Sequence
from math import prod

from crucible_datasets.results import Execution


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate the chance that one of k samples passes, from c passes among n.

    Parameters
    ----------
    n : int, >= k
        Programs that were run.
    c : int, in [0, n]
        Programs that passed.
    k : int, >= 1

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    1 - C(n - c, k) / C(n, k), as a product that does not overflow. It is the mean over all subsets
    of size k, and so unbiased; 1 - (1 - c/n)^k is not.

    References
    ----------
    .. [1] M. Chen et al., arXiv:2107.03374, 2021, section 2.1 and figure 3.

    Examples
    --------
    >>> round(pass_at_k(10, 3, 5), 9)
    0.916666667
    """
    if not 1 <= k <= n:
        raise ValueError(f"`k` must be in [1, {n}], got {k}")
    if not 0 <= c <= n:
        raise ValueError(f"`c` must be in [0, {n}], got {c}")
    if n - c < k:
        return 1.0
    return 1.0 - prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def passed(executions: Sequence[Execution]) -> dict[str, tuple[int, int]]:
    """Return (programs run, programs that passed) by item."""
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for execution in executions:
        counts[execution.item_id][0] += 1
        counts[execution.item_id][1] += execution.outcome == "passed"
    return {id: (n, c) for id, (n, c) in counts.items()}

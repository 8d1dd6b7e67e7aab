"""The path from socket to API call has not become slower: the limits, and that they would tell.

A limit is a measured figure with a stated tolerance. A change that makes the path cheaper lowers
the figure in the same commit (`python -m tests.bench.guard` prints it); one that makes it dearer
raises it, with its reason, or is no good.
"""

from __future__ import annotations

from tests.bench.guard import bytecodes_per_message, cpu_ratio

#: Counted, the same on every run of one Python version; another version compiles otherwise.
BYTECODES, BYTECODES_TOLERANCE = 88, 1.10
#: Measured on a quiet and on a busy machine: 2.1 to 2.3, and 3.1 to 3.4 with everything done twice.
RATIO, RATIO_TOLERANCE = 2.15, 1.25
_ATTEMPTS = 3


def within_limits(pumps: int = 1) -> tuple[bool, bool]:
    """Says whether bytecodes and processor time are within their limits."""
    few = bytecodes_per_message(pumps) <= BYTECODES * BYTECODES_TOLERANCE
    # Another program can make the path slower than it is, never faster: one good look is enough.
    fast = any(cpu_ratio(pumps) <= RATIO * RATIO_TOLERANCE for _ in range(_ATTEMPTS))
    return few, fast


def test_a_message_costs_no_more_than_it_did() -> None:
    assert within_limits() == (True, True)


def test_a_path_that_does_everything_twice_is_noticed_by_both_measures() -> None:
    assert within_limits(pumps=2) == (False, False)

"""Whether this process is ready, as one value. Imports nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Readiness:
    """What stands between the process and its work.

    Attributes:
        missing: what must still happen, in words an operator knows (`recovery`, `api`);
            empty means ready.
        remaining_connections: recovered connections that were not tried yet. They may remain
            when the deadline of recovery opened readiness without them.
        details: further facts for a reader, like the state of the circuit breaker.
    """

    missing: tuple[str, ...] = ()
    remaining_connections: int = 0
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

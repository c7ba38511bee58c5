"""What the answers of queries reflect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional

from ._abi_types import whole
from ._errors import UsageError
from ._status import Level


@dataclass(frozen=True)
class Consistency:
    """What the answer of a query has to reflect: ``Consistency.LINEARIZABLE``, which is the default, ``LEASE``, ``STALE``, or
    ``Consistency.bounded(...)``::

        client.query(b"x", consistency=Consistency.bounded(max_age=0.5))
    """

    LINEARIZABLE: ClassVar[Consistency]
    """Everything that was answered to anyone before the query began."""
    LEASE: ClassVar[Consistency]
    """The same, without asking the other servers where the leader holds a lease. It is right as long as clocks keep to
    ``timing.clock_drift_ppm`` and no machine is suspended; where that is 0, it is LINEARIZABLE."""
    STALE: ClassVar[Consistency]
    """What the server has applied, which may be old without bound. Needs no other server."""

    level: Level = Level.LINEARIZABLE
    max_age: Optional[float] = None
    """BOUNDED: seconds."""
    min_index: int = 0
    """BOUNDED: an entry's index, ``Client.seen`` of another client for instance."""

    def __post_init__(self) -> None:
        if not isinstance(self.level, Level):
            raise UsageError(f"the level is {self.level!r}: it must be a Level, such as Level.STALE")
        bounds = self.max_age is not None or self.min_index != 0
        if self.level != Level.BOUNDED and bounds:
            raise UsageError(f"max_age and min_index belong to BOUNDED, not to {self.level.name}")
        if self.level == Level.BOUNDED and not bounds:
            raise UsageError("bounded by neither max_age nor min_index; STALE is without a bound")
        if self.max_age is not None and not self.max_age > 0:
            raise UsageError(f"a max_age of {self.max_age} seconds: it must be above 0")
        whole(self.min_index, "min_index")

    @classmethod
    def bounded(cls, max_age: Optional[float] = None, min_index: int = 0) -> Consistency:
        """All that was answered up to ``max_age`` seconds before the query began, by the answering server's own clock, and the log
        up to ``min_index``: of the two those that are given, one at least. A client's never goes behind what it has seen."""
        return cls(Level.BOUNDED, max_age, min_index)


Consistency.LINEARIZABLE = Consistency()
Consistency.LEASE = Consistency(Level.LEASE)
Consistency.STALE = Consistency(Level.STALE)

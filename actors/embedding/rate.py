"""How long the engine takes, as measured on the batches that it ran lately."""

_KEPT = 0.9
"""What a measurement still weighs after each further one: the last ten batches or so count."""

_BELIEVED_S = 60.0
"""Seconds after the last measurement until it is no longer believed. Whoever was refused because of it could otherwise
never show that the engine is faster by now."""


class EngineRate:
    """Seconds of the engine for a unit of cost (`batching.text_cost`); times are on trio's clock."""

    def __init__(self) -> None:
        self._cost = self._seconds = 0.0
        self._measured_at = 0.0

    def __repr__(self) -> str:
        return f"<EngineRate {self._seconds:g} s for {self._cost:g}>"

    def measured(self, cost: float, seconds: float, now: float) -> None:
        """A batch that cost `cost` took so long."""
        self._cost = self._cost * _KEPT + cost
        self._seconds = self._seconds * _KEPT + seconds
        self._measured_at = now

    def seconds(self, cost: float, now: float) -> float:
        """Return what `cost` will take; 0 when nothing is known about it."""
        if self._cost == 0 or now - self._measured_at > _BELIEVED_S:
            return 0.0
        return cost * self._seconds / self._cost

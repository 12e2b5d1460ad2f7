"""Token buckets by key, in bounded memory: so many at once, and so many in a time in the long run.

A bucket is full at first, each request takes a token, and tokens come back evenly, so a client that is refused finds
room again within seconds, not at the end of a window: clients that come again after 1, 2, 4, 8 and 16 s lose nothing.
What was taken can be given back.

Rejected: the strategies of `limits`. Its fixed and moving windows, and its sliding counter, keep an address that used a
minute up at once out for the rest of that minute, which is longer than published clients try; and none can give back.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import msgspec

Clock = Callable[[], float]

_WHOLE = 1 - 1e-9
"""A token that came back in pieces is a whole one, whatever the pieces were rounded to."""


class Rate(msgspec.Struct, frozen=True):
    """`count` tokens at most, of which all come back within `period_s` seconds."""

    count: int
    period_s: float

    @property
    def per_s(self) -> float:
        """Tokens that come back in a second."""
        return self.count / self.period_s


class _Bucket:
    """The tokens that are left for one key, for each rate, as they were at a time of the clock."""

    __slots__ = ("at", "tokens")

    def __init__(self, at: float, tokens: list[float]) -> None:
        self.at = at
        self.tokens = tokens


class TokenBuckets:
    """Buckets that hold all of `rates` at once, for at most `keys_max` keys.

    Past that the key not asked about for longest is forgotten, and starts full again: who has more keys than that gains
    fresh budgets, but never our memory. `clock` gives monotonic seconds.
    """

    def __init__(self, rates: Sequence[Rate], *, keys_max: int, clock: Clock) -> None:
        self.set_rates(rates)
        self._keys_max = keys_max
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def __repr__(self) -> str:
        return f"<TokenBuckets of {len(self._buckets)} keys>"

    def __len__(self) -> int:
        return len(self._buckets)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._buckets

    def set_rates(self, rates: Sequence[Rate]) -> None:
        """Go on with other rates, as many as before: what is left stays, up to the new count, and comes back so."""
        self._counts = [float(rate.count) for rate in rates]
        self._per_s = [rate.per_s for rate in rates]
        self._rates = range(len(rates))

    def add(self, key: Hashable) -> Hashable | None:
        """Give a key that is not known a full bucket; returns the key that was forgotten for it, if any."""
        if key in self._buckets:
            return None
        self._buckets[key] = _Bucket(self._clock(), self._counts.copy())
        return self._buckets.popitem(last=False)[0] if len(self._buckets) > self._keys_max else None

    def take(self, key: Hashable) -> int | None:
        """Take a token; when there is none, return the whole seconds until there will be one, at least 1.

        What is refused takes nothing, so that asking too often uses nothing up.
        """
        bucket = self._buckets.get(key)
        if bucket is None:
            self.add(key)
            bucket = self._buckets[key]
        else:
            self._refill(bucket)
            self._buckets.move_to_end(key)
        tokens = bucket.tokens
        if min(tokens) < _WHOLE:
            waits_s = ((1 - left) / per_s for left, per_s in zip(tokens, self._per_s, strict=True))
            return max(1, math.ceil(max(waits_s) - 1e-6))
        for rate in self._rates:
            tokens[rate] -= 1
        return None

    def give_back(self, key: Hashable) -> None:
        """Put back a token that was taken; a bucket is never more than full, and one that was forgotten is full."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            tokens, counts = bucket.tokens, self._counts
            for rate in self._rates:
                tokens[rate] = min(counts[rate], tokens[rate] + 1)

    def _refill(self, bucket: _Bucket) -> None:
        now = self._clock()
        passed_s = now - bucket.at
        if passed_s <= 0:
            return
        bucket.at = now
        if bucket.tokens != self._counts:  # it is full where all that was taken is given back
            bucket.tokens = [
                min(count, left + passed_s * per_s)
                for count, left, per_s in zip(self._counts, bucket.tokens, self._per_s, strict=True)
            ]

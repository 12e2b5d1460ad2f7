"""How many requests an address may send: fixed windows of a minute and an hour, counted in bounded memory.

`limits` decides, on a storage of our own: its `MemoryStorage` starts a thread for each expiry, reads the wall clock and
grows without bound.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

import msgspec
import trio
from hypercorn.typing import HTTPScope
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from central_command.http.requests.addresses import ClientKeys
from central_command.http.requests.replies import HttpProblem
from central_command.http.settings import HttpSettings

Clock = Callable[[], float]


class _Window(msgspec.Struct):
    """A count, and when it begins anew, in seconds of the storage's clock."""

    count: int
    ends_at: float


class BoundedWindows(Storage):
    """Counters of `limits` in memory, at most `windows_max`; past that the one not counted for longest is dropped.

    `clock` gives monotonic seconds. What is dropped starts again at zero: an attacker with more addresses than
    `windows_max` gains fresh budgets, but never our memory.
    """

    STORAGE_SCHEME = None

    def __init__(self, *, windows_max: int, clock: Clock) -> None:
        super().__init__()
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._windows_max = windows_max
        self._clock = clock

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Nothing here fails."""
        return ()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count `amount` in the window of `key`, which lasts `expiry` seconds from its first count."""
        window = self._current(key)
        if window is None:
            window = self._windows[key] = _Window(0, self._clock() + expiry)
            if len(self._windows) > self._windows_max:
                self._windows.popitem(last=False)
        window.count += amount
        self._windows.move_to_end(key)
        return window.count

    def uncount(self, key: str) -> None:
        """Take one off the window of `key`, unless that has begun anew."""
        window = self._current(key)
        if window is not None and window.count > 0:
            window.count -= 1

    def get(self, key: str) -> int:
        """The count of the window of `key`."""
        window = self._current(key)
        return 0 if window is None else window.count

    def get_expiry(self, key: str) -> float:
        """When the window of `key` ends, on the storage's clock."""
        window = self._current(key)
        return self._clock() if window is None else window.ends_at

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget everything; returns how many windows there were."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget the window of `key`."""
        self._windows.pop(key, None)

    def __len__(self) -> int:
        return len(self._windows)

    def _current(self, key: str) -> _Window | None:
        window = self._windows.get(key)
        if window is not None and window.ends_at <= self._clock():
            del self._windows[key]
            return None
        return window


class AddressBudget:
    """The requests that each address may send in a minute and in an hour."""

    def __init__(self, *, per_minute: int, per_hour: int, addresses_max: int, clock: Clock) -> None:
        self._items: tuple[RateLimitItem, ...] = (RateLimitItemPerMinute(per_minute), RateLimitItemPerHour(per_hour))
        self._windows = BoundedWindows(windows_max=addresses_max * len(self._items), clock=clock)
        self._limiter = FixedWindowRateLimiter(self._windows)
        self._clock = clock

    def take(self, key: str) -> int | None:
        """Count one request of `key`; when it is one too many, return the seconds until it may be sent, at least 1.

        A refused request counts in no window, so that being over the minute's limit does not use the hour up.
        """
        spent = [item for item in self._items if not self._limiter.test(item, key)]
        if spent:
            resets_at = max(self._limiter.get_window_stats(item, key).reset_time for item in spent)
            return max(1, math.ceil(resets_at - self._clock()))
        for item in self._items:
            self._limiter.hit(item, key)
        return None

    def give_back(self, key: str) -> None:
        """Take one request of `key` that was counted out of the windows that it may be in."""
        for item in self._items:
            self._windows.uncount(item.key_for(key))

    def statistics(self) -> int:
        """How many windows are held in memory."""
        return len(self._windows)


class AddressLimits:
    """How many requests an address may send: one budget for embeddings, one for everything else."""

    def __init__(self, settings: HttpSettings, *, embed_paths: frozenset[str]) -> None:
        self._keys = ClientKeys(settings)
        self._embed_paths = embed_paths
        self._general = AddressBudget(
            per_minute=settings.requests_per_minute,
            per_hour=settings.requests_per_hour,
            addresses_max=settings.addresses_max,
            clock=trio.current_time,
        )
        self._embed = AddressBudget(
            per_minute=settings.embed_requests_per_minute,
            per_hour=settings.embed_requests_per_hour,
            addresses_max=settings.addresses_max,
            clock=trio.current_time,
        )

    def take(self, scope: HTTPScope, path: str) -> HttpProblem | None:
        """Count one request, or return the 429 for one too many."""
        retry_after_s = (self._embed if path in self._embed_paths else self._general).take(self._keys.of(scope))
        if retry_after_s is None:
            return None
        sentence = "Too many requests from this address; come back later."
        return HttpProblem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", sentence, retry_after_s=retry_after_s)

    def give_back_embedding(self, key: str) -> None:
        """A request of this address to embed, counted before, took nothing of what its budget guards."""
        self._embed.give_back(key)

"""Parallel sessions share one server's patience: its `Retry-After` to one of them holds for all.

A 429 for opening a session may be the limit of one machine's sessions, which says nothing of sessions that are open:
it holds up openings only. Should it be the limit of the address, the next request of another session hears that itself.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import trio

from central_command.client.contract.endpoints import OPEN_PATH
from central_command.client.delivering.posting import Answer, Delivery, RetryPolicy, Undelivered, Waiting

_RETRY_AFTER_STATUS = 429


class Pauses:
    """Until when nothing may be sent (`trio.current_time`), in all and to single paths."""

    def __init__(self) -> None:
        self._until: dict[str | None, float] = {}

    def ask(self, path: str, seconds: float) -> None:
        """Send nothing for `seconds`; an opening only holds up openings."""
        key = path if path == OPEN_PATH else None
        self._until[key] = max(self._until.get(key, 0.0), trio.current_time() + seconds)

    async def wait(self, path: str) -> None:
        """Return when `path` may be sent to; the pause may become longer while one waits."""
        while (until := self._end(path)) > trio.current_time():  # noqa: ASYNC110 -- it waits for a time, not an event
            await trio.sleep_until(until)

    def _end(self, path: str) -> float:
        return max(self._until.get(None, 0.0), self._until.get(path, 0.0))


class PacedDelivery(Delivery):
    """A Delivery that keeps pauses that it shares with others."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        policy: RetryPolicy,
        random: Callable[[], float],
        on_wait: Callable[[Waiting], None],
        pauses: Pauses,
    ) -> None:
        super().__init__(client, policy=policy, random=random, on_wait=on_wait)
        self._longest_pause_s = policy.retry_after_s_max
        self._pauses = pauses

    async def attempt(self, path: str, body: bytes, *, timeout_s: float) -> Answer | Undelivered:
        """Wait for the pauses, which is no part of `timeout_s`, then post once; a 429's `Retry-After` is a pause.

        One that is too long to be waited for ends its own session and is no pause: others hear it themselves.
        """
        await self._pauses.wait(path)
        outcome = await super().attempt(path, body, timeout_s=timeout_s)
        if isinstance(outcome, Answer) and outcome.status == _RETRY_AFTER_STATUS and outcome.is_temporary:
            asked_s = outcome.retry_after_s
            if asked_s is not None and asked_s <= self._longest_pause_s:
                self._pauses.ask(path, asked_s)
        return outcome


class ByteBudget:
    """Lets in so many bytes at once: what is larger than the whole budget comes in alone."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._changed = trio.Condition()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait for room, and take it for as long as the block lasts."""
        size = min(size, self._bytes_max)
        async with self._changed:
            while self._held + size > self._bytes_max:
                await self._changed.wait()
            self._held += size
        try:
            yield
        finally:
            self._held -= size
            with trio.CancelScope(shield=True):
                async with self._changed:
                    self._changed.notify_all()

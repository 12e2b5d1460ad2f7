"""Goes on with all the sessions that it was given, so many at a time, for as long as it runs.

Whoever signs puts envelopes into the spool and says `add`; this sends what the spool holds, and is the only thing that
does. Recording and uploading differ in what they put there, in how many sessions go at once, and in whether patience
ends: a recording waits for its server for ever, an upload gives a session up after so many tries and says so, and
sooner where the server has never answered: an address that is wrong is no outage.

One backoff holds for all: a server that cannot be reached, that is out of order or that asks for time is left alone by
every session until then. A limit on openings holds up those that are not open, and a 429 that names no time only the
session that it was said to.

A server that asks for time (a 429, or a 503 with `Retry-After`) is well, and such an answer is no failed try: patience
with it ends only when nothing at all was delivered for `RetryPolicy.asking_s_max`. When the time that it told is over,
one request goes first, and the others once that was answered otherwise: all together, most would lose again.
"""

import logging
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import NoReturn

import msgspec
import trio

from central_command.client.delivering.exchange import SessionDelivery
from central_command.client.delivering.posting import RetryPolicy
from central_command.client.delivering.progress import Done, Held, Later, Nothing, One, Resting, Sent, Several
from central_command.client.spool.records import SpoolError

_BACKOFF_STEPS_MAX = 32
"""Doublings beyond it change nothing."""
_logger = logging.getLogger(__name__)


class Waiting(msgspec.Struct, frozen=True):
    """Said before each wait: why, for how long, and which try of its session this was."""

    reason: str
    seconds: float
    attempt: int


def _say_nothing(_session_id: str, _waiting: Waiting) -> None:
    """Nobody wants to hear of waits."""


class Deliverer:
    """Delivers `at_once` sessions at a time, each with one request under way.

    `on_progress` hears what came of each session, after it is counted. With `gives_up`, a session rests after
    `policy.attempts_max` tries in a row, and where the server asks for more time than `policy.retry_after_s_max`, or
    for longer than `policy.asking_s_max` while nothing is delivered. What a session raises is logged and tried again,
    never raised.
    """

    def __init__(
        self,
        sessions: SessionDelivery,
        *,
        policy: RetryPolicy,
        random: Callable[[], float],
        on_progress: Callable[[str, One], None],
        on_wait: Callable[[str, Waiting], None] = _say_nothing,
        at_once: int = 1,
        gives_up: bool = False,
    ) -> None:
        self._sessions = sessions
        self._policy = policy
        self._random = random
        self._on_progress = on_progress
        self._on_wait = on_wait
        self._at_once = at_once
        self._gives_up = gives_up
        self._due: dict[str, float] = {}
        self._under_way: set[str] = set()
        self._again: set[str] = set()
        self._resting: set[str] = set()
        self._failures: Counter[str] = Counter()
        """By session, how often it had to wait in a row: what backoff grows by."""
        self._tries: Counter[str] = Counter()
        """Those of them that patience counts: the server did not just ask for time."""
        self._asked_from: float | None = None
        """When the server first asked for time since anything was delivered."""
        self._is_probing = False
        """Whether one request goes at a time: the server asked for time, and has not answered otherwise since."""
        self._resume_at = 0.0
        self._is_reached = False
        """Whether a Central Command has answered."""
        self._woken = trio.Event()
        self.steps_accepted = 0
        self.envelopes_refused = 0
        self.problem: str | None = None
        """Why nothing is delivered at present, or what was refused last; None when all went well so far."""

    def __repr__(self) -> str:
        return f"<Deliverer of {len(self._due) + len(self._under_way)} sessions>"

    @property
    def is_done(self) -> bool:
        """Whether nothing that it was given is left to be sent."""
        return not (self._due or self._resting or self._under_way)

    @property
    def is_idle(self) -> bool:
        """Whether nothing more comes of what it was given: all is sent, or rests until the next start."""
        return not (self._due or self._under_way)

    def add(self, session_id: str) -> None:
        """Go on with this session; again after something was put to it."""
        if session_id in self._under_way:
            self._again.add(session_id)
        elif session_id not in self._resting:
            self._due.setdefault(session_id, 0.0)
            self._woken.set()

    def drop(self, session_id: str) -> None:
        """Forget a session that is not under way; it may be added again."""
        self._due.pop(session_id, None)
        self._forget_failures(session_id)
        self._resting.discard(session_id)
        if self.is_done:
            self._asked_from = None  # who comes next begins with all its patience

    async def run(self) -> NoReturn:
        """Deliver until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                now = trio.current_time()
                is_full = len(self._under_way) >= (1 if self._is_probing else self._at_once)
                is_free = now >= self._resume_at and not is_full
                ready = next((each for each, due in self._due.items() if due <= now), None) if is_free else None
                if ready is not None:
                    del self._due[ready]
                    self._under_way.add(ready)
                    nursery.start_soon(self._proceed, ready)
                    continue
                self._woken = trio.Event()
                with trio.move_on_at(inf if is_full else max(self._resume_at, min(self._due.values(), default=inf))):
                    await self._woken.wait()

    async def _proceed(self, session_id: str) -> None:
        try:
            progress = await self._sessions.proceed(session_id)
        except trio.Cancelled:
            self._due[session_id] = 0.0  # nothing came of it: it waits as before
            raise
        except SpoolError as error:
            progress = Later(str(error))
        except KeyError:  # it is long done, and forgotten
            progress = Done()
        except Exception as error:  # a fault here must not end the program that records
            _logger.exception("session %s cannot be delivered", session_id)
            progress = Later(f"fault: {type(error).__name__}")
        finally:
            self._under_way.discard(session_id)
            self._woken.set()
        for each in progress.each if isinstance(progress, Several) else (progress,):
            told = self._given_up(session_id, each) if isinstance(each, Later) else each
            self._note(session_id, told)
            self._on_progress(session_id, told)
        self._again.discard(session_id)

    def _given_up(self, session_id: str, later: Later) -> Later | Resting:
        """Count one more failure of a session; it rests where patience ends."""
        unreached, policy = later.unreached, self._policy
        asks_for_time = later.asks_for_time and (unreached is None or self._is_reached)
        self._failures[session_id] += 1
        self._tries[session_id] += not asks_for_time
        failures = self._tries[session_id]
        asked_s = later.retry_after_s
        if not self._gives_up:
            return later
        if asked_s is not None and asked_s > policy.retry_after_s_max:
            reason = f"{later.reason}, and asks to wait {asked_s:.0f} s"
            return Resting("", reason, unreachable=True, status=later.status)
        if asks_for_time:
            return self._tired_of(later)
        if unreached is not None and not self._is_reached:
            if unreached.permanent or failures >= min(policy.first_attempts_max, policy.attempts_max):
                advice = unreached.advice
                return Resting("", unreached.reason, unreachable=True, status=later.status, advice=advice)
        elif unreached is not None and unreached.permanent:
            return Resting("", later.reason, unreachable=True, status=later.status)
        elif failures >= policy.attempts_max:
            return Resting("", f"{later.reason} ({failures} tries)", unreachable=True, status=later.status)
        return later

    def _tired_of(self, later: Later) -> Later | Resting:
        """Rest where the server has asked for time, and asks for more, for too long without anything delivered."""
        now = trio.current_time()
        if self._asked_from is None:
            self._asked_from = now
        asked_for_s = now - self._asked_from
        if asked_for_s + (later.retry_after_s or 0.0) <= self._policy.asking_s_max:
            return later
        reason = f"{later.reason} (the server has asked for time for {asked_for_s:.0f} s, and nothing was delivered)"
        return Resting("", reason, unreachable=True, status=later.status)

    def _forget_failures(self, session_id: str) -> None:
        self._failures.pop(session_id, None)
        self._tries.pop(session_id, None)

    def _note_server(self, progress: One) -> None:
        """What this says of the server, whichever session it is of."""
        self._is_reached |= isinstance(progress, Sent) or (isinstance(progress, Later) and progress.unreached is None)
        if isinstance(progress, Later) and progress.asks_for_time:
            self._is_probing |= not (progress.opening or progress.own)
        elif not isinstance(progress, Nothing | Held):  # those asked the server nothing
            self._is_probing &= trio.current_time() < self._resume_at  # what was under way before says nothing yet
        if isinstance(progress, Sent | Done):
            self._asked_from = None

    def _note(self, session_id: str, progress: One) -> None:
        self._note_server(progress)
        match progress:
            case Sent(session_id=now_id, steps=steps, refusal=refusal):
                self._forget_failures(session_id)
                self.steps_accepted += steps
                self.envelopes_refused += refusal is not None
                self.problem = refusal
                self._due[now_id] = 0.0
            case Nothing() | Done():
                if isinstance(progress, Done):
                    self._forget_failures(session_id)
                    self.problem = progress.problem
                if session_id in self._again:
                    self._due[session_id] = 0.0
            case Resting(what=what, reason=reason):
                self.problem = f"{what}: {reason}"
                self._due.pop(session_id, None)
                self._resting.add(session_id)
            case Held(until=until):
                self._due[session_id] = until
            case Later():
                self._wait(session_id, progress)

    def _wait(self, session_id: str, later: Later) -> None:
        if self.problem != later.reason:
            _logger.info("delivery waits: %s", later.reason)
        self.problem = later.reason
        failures = self._failures[session_id]
        asked_s = later.retry_after_s
        if asked_s is not None:
            asked_s = min(asked_s, self._policy.retry_after_s_max)
        seconds = self._policy.wait_s(min(failures, _BACKOFF_STEPS_MAX), asked_s, self._random())
        until = trio.current_time() + seconds
        if later.opening or later.own:
            self._due[session_id] = until
            if later.opening and asked_s is not None:
                self._sessions.hold_openings(until)
        else:
            self._due = {session_id: 0.0, **self._due}
            self._resume_at = max(self._resume_at, until)
        self._on_wait(session_id, Waiting(later.reason, seconds, failures))

"""One session as a program records it: a queue in memory in front of the spool.

`record` and its like only append to the queue, whatever thread they are called in; `keep` takes from it, in one
thread at a time. A step leaves the queue once it is in the spool, so a spool that is out of order for a while costs
nothing until the queue's bound.
"""

import json
import logging
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from enum import Enum
from types import TracebackType
from typing import Self

import msgspec

from actors.envelopes.schema import FEEDBACK_SIGNALS, OUTCOME_STATUSES
from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.chunking import (
    CHUNK_BYTES_MAX,
    CHUNK_STEPS_MAX,
    SESSION_BYTES_MAX,
    SESSION_CHUNKS_MAX,
    as_written,
    encode_json,
)
from central_command.client.contract.identity import Identity
from central_command.client.contract.scrubbing import StepScrubber, metadata_of_scrubbing
from central_command.client.contract.signing import Draft, draft_envelope
from central_command.client.contract.steps import JsonObject, Step
from central_command.client.recording.agents import Agent
from central_command.client.recording.recorded_steps import BadStepError, Scrub, Tally, prepare, snapshot
from central_command.client.recording.said_at_close import STATUS_OF_NOTHING_SAID, said_outcome, said_status
from central_command.client.recording.told import switch_of, told_step, usage_of, with_told
from central_command.client.spool.records import Opening, SessionDoneError, SpoolFullError, StoredSession
from central_command.client.spool.spool import Spool

_LIMITS = SchemaSettings()
_FEEDBACK_MAX = 50
"""Of one session; an envelope each, of which a session may have 200."""
_TEXT_CHARS_MAX = 10_000
_logger = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the spool holds beside a recorded session, so that another process can end it honestly."""

    agent: Agent
    contributor_id: str
    tally: Tally
    is_scrubbed: bool | None = None
    """None: kept by a version that did not say."""

    def metadata(self, client_version: str) -> JsonObject:
        """What the contract's `metadata` says."""
        told = {} if self.is_scrubbed is None else metadata_of_scrubbing(is_scrubbed=self.is_scrubbed)
        return self.agent.metadata(client_version) | told


class Queue:
    """The bounds and counts that all recordings of one recorder share; `wake` is called in any thread.

    `steps` and `bytes` wait in memory. `wake(urgent)` says that something came; urgent when a chunk is full or a
    session ends.
    """

    def __init__(self, *, steps_max: int, bytes_max: int, wake: Callable[[bool], None]) -> None:
        self.steps_max = steps_max
        self.bytes_max = bytes_max
        self.wake = wake
        self.steps = 0
        self.bytes = 0
        self.recorded = 0
        self.bad = 0
        self.dropped = 0
        self.kept = 0
        self.findings: Counter[str] = Counter()
        """What was scrubbed, by category."""
        self.is_closed = False
        self.lock = threading.Lock()
        """Held for every change here, and to append to a recording: for less than a microsecond."""
        self.waiting: dict[int, Recording] = {}
        """Recordings with something in their queue, by identity."""


class _Kind(Enum):
    STEP = 0
    FEEDBACK = 1
    END = 2


class _Item(msgspec.Struct, frozen=True, gc=False):
    kind: _Kind
    text: bytes
    at_s: float
    status: str = ""


class Recording:
    """A session that a program records. All methods may be called in any thread, return at once and never raise.

    As a context manager it closes with SUCCESS, or with CRASH when an exception leaves the block.
    """

    def __init__(
        self,
        queue: Queue,
        spool: Spool,
        *,
        url: str,
        agent: Agent,
        identity: Identity,
        scrub: Scrub | None,
        scrubber: StepScrubber | None,
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._url = url
        self._agent = agent
        self._identity = identity
        self._scrub = scrub
        self._scrubber = scrubber
        self._items: deque[_Item] = deque()
        self._session_id = f"sess_{uuid.uuid4()}"
        self._is_added = False
        self._is_closed = False
        self._kept_steps = 0
        self._kept_bytes = 0
        self._kept_since_s = 0.0
        self._feedbacks = 0
        self._tally = Tally()
        self._has_warned = False
        self._told: dict[str, str] = {}
        """The model and the agent, once they were switched."""
        self._touched: set[str] = set()

    def __repr__(self) -> str:
        return f"<Recording {self._session_id}{' closed' if self._is_closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_closed:
            self.close("SUCCESS" if error is None else "CRASH" if isinstance(error, Exception) else "KILLED")

    @property
    def session_id(self) -> str:
        """The session that steps go to now; a very long recording goes on in another one."""
        return self._session_id

    def record(self, step: Step | Mapping[str, object]) -> None:
        """Record a step: a mapping with at least `type` and `content` (docs/clients.md), or a `Step`.

        It is numbered here; `timestamp` and `token_count` are filled in where they are missing. What cannot be
        recorded is counted: a bad step as such, one past the queue's bounds, or after the close, as dropped.
        """
        queue = self._queue
        try:
            text = snapshot(with_told(step, self._told))
        except Exception as error:  # noqa: BLE001 -- whatever the program hands over, it goes on
            self._count_bad(f"it cannot be written as JSON ({type(error).__name__})")
            return
        with queue.lock:
            if (
                self._is_closed
                or queue.is_closed
                or queue.steps >= queue.steps_max
                or queue.bytes + len(text) > queue.bytes_max
            ):
                queue.dropped += 1
                return
            queue.steps += 1
            queue.bytes += len(text)
            queue.recorded += 1
            self._append(_Item(_Kind.STEP, text, time.time()))
        queue.wake(len(self._items) >= CHUNK_STEPS_MAX)

    def switch_model(self, model: str) -> None:
        """Say that the agent works with another model from now on."""
        self._switch(model=model)

    def switch_agent(self, name: str, model: str | None = None) -> None:
        """Say that another agent works from now on, with another model if one is given."""
        self._switch(agent=name, model=model)

    def _switch(self, **who: str | None) -> None:
        try:
            told = switch_of(**who)
        except BadStepError as error:
            self._count_bad(str(error))
            return
        self._told = {**self._told, **told}
        self.record(told_step(told))

    def usage(
        self,
        *,
        input: int | None = None,  # noqa: A002 -- as the API calls it
        output: int | None = None,
        cache_read: int | None = None,
        cache_write: int | None = None,
    ) -> None:
        """Say what one message of the model took and gave, once, behind its steps.

        `input` is all that the model read, what was read from and written to its cache included.
        """
        counts = {"input": input, "output": output, "cache_read": cache_read, "cache_write": cache_write}
        try:
            usage = usage_of({f"{name}_tokens": count for name, count in counts.items()})
        except BadStepError as error:
            self._count_bad(str(error))
            return
        self.record(told_step({"usage": usage}))

    def feedback(
        self,
        signal: str,
        *,
        context: str = "",
        target_step: int | None = None,
        revision_rounds: int = 0,
        delta_summary: str | None = None,
    ) -> None:
        """Say what the user made of the work: accepted, modified, rejected or iterated; also after the close."""
        if signal not in FEEDBACK_SIGNALS or self._feedbacks >= _FEEDBACK_MAX or self._queue.is_closed:
            self._count_bad(f"it must be one of {', '.join(FEEDBACK_SIGNALS)}, and not come too often", what="feedback")
            return
        try:
            members = {
                "signal": signal,
                "timestamp": as_written(time.time()),
                "context": context[:_TEXT_CHARS_MAX],
                "target_step": None if target_step is None else min(max(int(target_step), 0), _LIMITS.step_number_max),
                "revision_rounds": max(int(revision_rounds), 0),
                "delta_summary": None if delta_summary is None else delta_summary[:_TEXT_CHARS_MAX],
            }
            text = encode_json(members)
        except Exception as error:  # noqa: BLE001 -- as above
            self._count_bad(f"it is not as it must be ({type(error).__name__})", what="feedback")
            return
        with self._queue.lock:
            self._feedbacks += 1
            self._append(_Item(_Kind.FEEDBACK, text, time.time()))
        self._queue.wake(True)  # noqa: FBT003 -- urgent

    def close(self, status: str = "SUCCESS", *, outcome: Mapping[str, object] | None = None) -> None:
        """End the session: SUCCESS, CRASH, KILLED or SHUTDOWN. Counts are those of the steps recorded.

        `outcome` adds what the program knows and a recorder cannot (`files_modified`, `session_quality`, ...). What is
        wrong of it is left out, and a status that is none of these (in capitals or not) ends the session as SHUTDOWN,
        which claims nothing; each counts as a bad step. Once is enough; what is recorded later is dropped.
        """
        said, members, wrong = said_status(status), dict[str, object](), list[str]()
        try:
            members, wrong = said_outcome(outcome)
        except Exception as error:  # noqa: BLE001 -- as above
            wrong = [f"the outcome cannot be read ({type(error).__name__})"]
        with self._queue.lock:
            if self._is_closed:
                return
            self._is_closed = True
            item = _Item(_Kind.END, encode_json(members), time.time(), said or STATUS_OF_NOTHING_SAID)
            self._append(item)
        if said is None:
            self._count_bad(f"it is none of {', '.join(OUTCOME_STATUSES)}", what="the status")
        for reason in wrong:
            self._count_bad(reason, what="what is wrong of the outcome")
        self._queue.wake(True)  # noqa: FBT003 -- urgent

    def _append(self, item: _Item) -> None:
        self._items.append(item)
        self._queue.waiting[id(self)] = self

    def _drop(self, steps: int) -> None:
        with self._queue.lock:
            self._queue.dropped += steps

    def _count_bad(self, reason: str, *, what: str = "a step") -> None:
        with self._queue.lock:
            self._queue.bad += 1
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "%s was left out of %s: %s; more of this session is counted only", what, self._session_id, reason
            )

    # -- From the queue to the spool, in one thread at a time

    def give_up(self) -> None:
        """After a fault of this program: drop what waits, so that it holds no other session up."""
        with self._queue.lock:
            self._is_closed = True
            steps = [item for item in self._items if item.kind is _Kind.STEP]
            self._items.clear()
            self._queue.steps -= len(steps)
            self._queue.bytes -= sum(len(item.text) for item in steps)
            self._queue.dropped += len(steps)

    @property
    def is_done(self) -> bool:
        """Whether it was closed and all of it is in the spool."""
        return self._is_closed and not self._items

    def keep(self, now_s: float, chunk_timeout_s: float) -> set[str]:
        """Move all that waits to the spool; `now_s` is monotonic. Gives the ids that have something to deliver.

        Raises SpoolError when the spool is out of order; what is not yet in it stays in the queue.
        """
        while self._items:
            item = self._items[0]
            match item.kind:
                case _Kind.STEP:
                    self._keep_steps(now_s)
                case _Kind.FEEDBACK:
                    self._put_feedback(item)
                    self._items.popleft()
                case _Kind.END:
                    self._end(item.status, json.loads(item.text))
                    self._items.popleft()
            if self._kept_steps >= CHUNK_STEPS_MAX or self._kept_bytes > CHUNK_BYTES_MAX // 2:
                self._put_chunk()
        is_full = self._kept_steps >= CHUNK_STEPS_MAX
        if is_full or (self._kept_steps and now_s - self._kept_since_s >= chunk_timeout_s):
            self._put_chunk()
        touched, self._touched = self._touched, set()
        return touched

    def _keep_steps(self, now_s: float) -> None:
        """Keep the steps at the front, as many as the chunk in the making has room for."""
        tally, texts, kept_bytes, taken, taken_bytes = self._tally, list[bytes](), self._kept_bytes, 0, 0
        bad: list[str] = []
        findings: Counter[str] = Counter()
        while taken < len(self._items) and self._kept_steps + len(texts) < CHUNK_STEPS_MAX:
            item = self._items[taken]
            if item.kind is not _Kind.STEP:
                break
            try:
                step, text = prepare(
                    item.text, number=tally.number + 1, now_s=item.at_s, scrub=self._scrub, scrubber=self._scrubber
                )
                found = self._take_findings()
            except BadStepError as error:
                bad.append(str(error))
                self._take_findings()
            else:
                if kept_bytes and kept_bytes + len(text) + 1 > CHUNK_BYTES_MAX:
                    break
                findings.update(found)
                texts.append(text)
                kept_bytes += len(text) + 1
                tally = tally.with_step(step, len(text))
            taken += 1
            taken_bytes += len(item.text)
        self._store(texts, tally, findings)
        for reason in bad:
            self._count_bad(reason)
        for _ in range(taken):
            self._items.popleft()
        with self._queue.lock:
            self._queue.steps -= taken
            self._queue.bytes -= taken_bytes
        if self._kept_steps == len(texts):
            self._kept_since_s = now_s
        if taken == 0:
            self._put_chunk()

    def _take_findings(self) -> "Counter[str]":
        return Counter() if self._scrubber is None else self._scrubber.take_findings()

    def _scrubbed(self, members: JsonObject) -> JsonObject:
        """Members of what is no step, scrubbed unless the program said no."""
        if self._scrubber is None:
            return members
        scrubbed = self._scrubber.members(members)
        self._queue.findings.update(self._take_findings())
        return scrubbed

    def _store(self, texts: list[bytes], tally: Tally, findings: Mapping[str, int]) -> None:
        if not texts:
            return
        try:
            self._add()
            self._spool.keep_steps(self._session_id, texts, source_state=self._state(tally))
        except SpoolFullError:
            self._drop(len(texts))
            self._spool.count_dropped(envelopes=0, steps=len(texts))
        except SessionDoneError:
            self._drop(len(texts))
        else:
            self._tally = tally
            self._kept_steps += len(texts)
            self._kept_bytes += sum(len(text) + 1 for text in texts)
            self._queue.kept += len(texts)
            self._queue.findings.update(findings)

    def _put_chunk(self) -> None:
        if not self._kept_steps:
            return
        self._touched.add(self._session_id)
        kept = self._kept(self._tally)
        try:
            self._spool.put_kept_steps(self._session_id, lambda session, log: chunk_draft(session, kept, log))
        except SessionDoneError:
            self._drop(self._kept_steps)
        self._kept_steps = self._kept_bytes = 0
        session = self._spool.current(self._session_id)
        self._session_id = session.session_id
        if (
            session.chunks >= SESSION_CHUNKS_MAX - _FEEDBACK_MAX
            or self._tally.bytes > SESSION_BYTES_MAX - CHUNK_BYTES_MAX
        ):
            self._end("SUCCESS", {})
            self._session_id, self._tally, self._is_added = f"sess_{uuid.uuid4()}", Tally(), False

    def _put_feedback(self, item: _Item) -> None:
        if not self._is_added:
            return
        head = {
            "envelope_id": f"env_{uuid.uuid4()}",
            "session_id": self._session_id,
            "type": "USER_FEEDBACK",
        }
        members = json.loads(item.text)
        if members["target_step"] is None:
            members["target_step"] = self._tally.number
        try:
            self._put_chunk()
            self._touched.add(self._session_id)
            self._spool.put(
                self._session_id, "USER_FEEDBACK", draft_envelope(head, {"feedback": self._scrubbed(members)})
            )
        except (SessionDoneError, KeyError):
            self._count_bad("the session was given up, or is long forgotten", what="feedback")

    def _end(self, status: str, members: JsonObject) -> None:
        """Nothing is told of a session without a step."""
        if not self._is_added:
            return
        session_id = self._session_id
        self._put_chunk()
        if self._session_id != session_id:  # that chunk was the last one of its part
            return
        self._touched.add(self._session_id)
        end_session(self._spool, self._session_id, self._kept(self._tally), status, self._scrubbed(members))

    def _add(self) -> None:
        if self._is_added:
            return
        opening = Opening(
            provider=self._agent.provider,
            model=self._agent.model,
            machine_fingerprint=self._identity.machine_fingerprint,
            app_version_hash=self._identity.app_version_hash,
            client_version=self._identity.client_version,
            contributor_id=self._identity.contributor_id,
        )
        self._spool.add_session(self._session_id, url=self._url, opening=opening)
        self._is_added = True

    def _state(self, tally: Tally) -> bytes:
        return msgspec.json.encode(self._kept(tally))

    def _kept(self, tally: Tally) -> Kept:
        return Kept(
            agent=self._agent,
            contributor_id=self._identity.contributor_id,
            tally=tally,
            is_scrubbed=self._scrubber is not None,
        )


def chunk_draft(session: StoredSession, kept: Kept, trajectory_log: bytes) -> Draft:
    """A CHUNK of `session`, its next one."""
    head = {
        "envelope_id": f"env_{uuid.uuid4()}",
        "session_id": session.session_id,
        "chunk_sequence": session.chunks,
        "contributor_id": kept.contributor_id,
    }
    metadata = kept.metadata(session.opening.client_version)
    return draft_envelope(head, {"metadata": metadata}, trajectory_log=trajectory_log)


def end_session(spool: Spool, session_id: str, kept: Kept, status: str, members: JsonObject) -> None:
    """Put the SESSION_CLOSE, and say that no more will come. A session that was given up stays so."""
    session = spool.current(session_id)
    head = {"envelope_id": f"env_{uuid.uuid4()}", "session_id": session_id, "type": "SESSION_CLOSE"}
    metadata = kept.metadata(session.opening.client_version) | {"domain_tags": None, "session_embedding": None}
    outcome = members | kept.tally.outcome(status, chunks=session.chunks)
    try:
        draft = draft_envelope(head, {"metadata": metadata, "outcome": outcome})
        spool.put(session_id, "SESSION_CLOSE", draft, ends=True)
    except SessionDoneError:
        _logger.warning("the session %s was given up before it ended", session_id)


def end_orphan(spool: Spool, session: StoredSession) -> None:
    """End a session whose process is gone without a word: KILLED, with all the steps that it had kept."""
    try:
        kept = msgspec.json.decode(session.source_state, type=Kept)
    except msgspec.DecodeError:
        spool.end(session.session_id)
        return
    spool.put_kept_steps(session.session_id, lambda current, log: chunk_draft(current, kept, log))
    end_session(spool, session.session_id, kept, "KILLED", {})

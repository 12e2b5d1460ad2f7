"""What was sent before of which transcript, as the spool knows it: so a step is sent once, however often one tries.

A *source* is one session of an agent, wherever its file lies. Each of the sessions that came from it carries, in its
`source_state`, a record of every step that it took (`recognition`). A record joins the spool in the very transaction
that signs the envelope with the step, so "taken" and "signed" can never differ. What is still to be sent is what the
file holds more often than the records do. That survives a file that grows, moves, is compressed, is written anew with
other line breaks, or begins anew, and readers that change.

A source's name is its *family* (the agent, and its own id of the session) and, of the step that was sent first, a
digest. A file finds its source among those of its family by what it holds; the digest only tells them apart.
"""

import fcntl
import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from central_command.client.contract.placing import Placing
from central_command.client.delivering.refusals import REFUSED_OPENING
from central_command.client.spool.forgetting import FORGOTTEN
from central_command.client.spool.records import SessionState, SpoolError, StoredSession
from central_command.client.spool.spool import Spool
from central_command.client.uploading.names import kept_path, path_of
from central_command.client.uploading.recognition import (
    DIGEST_BYTES,
    RECORD_BYTES,
    Sent,
    copied_steps,
    likeness,
    marked,
    plain_path,
)
from central_command.client.uploading.survey import Survey

_LOCK_OFFSET_BITS = 62
ENDED_BY_SERVER = "the server had already closed the session"
"""Kept as the problem of a session whose last chunks came too late: their steps go into a further session."""
ENDED_BY_FAULT = "the server took no more for the session"
"""The same, where it had forgotten the session, or expected something else of it: nothing was said of the steps."""
ENDED_FOR_KEY = "the contributor's key was registered after the session had been opened"
"""The same, where the next session has to be opened with a key."""
ENDED_BY_WITHDRAWAL = "the contributor had withdrawn their consent meanwhile"
"""The same, where consent was given again since."""
GOES_ON = frozenset({ENDED_BY_SERVER, ENDED_BY_FAULT, ENDED_FOR_KEY, ENDED_BY_WITHDRAWAL, FORGOTTEN})
"""Problems behind which a file goes on in the next session."""
WITHDRAWN = "Nothing more is taken: the contributor has withdrawn their consent."
"""The problem of a session of which the server took no more; it is over when consent is given again."""
ERASED = "Nothing more is taken: the contributor was erased at this server."
"""The same, and for good."""
SUBAGENT = "subagent"
"""The `agent_role` of a sub-agent's session."""
SENT_ANEW = "given up, because its file was sent anew"
GIVEN_UP = (SENT_ANEW, REFUSED_OPENING)
"""What the problems begin with of sessions that are done and count as never begun."""


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """What a session of the spool knows of its source: written with each envelope, read when it is taken up again.

    `taken` are the digests that earlier versions noted of its first steps, `records` what is noted of those after them,
    in order of its chunks; `bytes_sent` counts their JSON text. `is_sent_anew` says of a session that is done that its
    steps count as new: it stays what it is, credited or not, and nothing is derived from it any more. `lineage` is what
    joins it with its sub-agents (`lineage.py`).
    """

    path: str
    contributor_id: str
    metadata: dict[str, str | None]
    continues: str | None = None
    placing: Placing = Placing()
    taken: bytes = b""
    records: bytes = b""
    bytes_sent: int = 0
    is_sent_anew: bool = False
    lineage: dict[str, str] = {}

    def encode(self) -> bytes:
        """As `source_state` holds it."""
        return msgspec.msgpack.encode(self)


_DECODER = msgspec.msgpack.Decoder(SourceState)


def state_of(session: StoredSession) -> SourceState:
    """The state of a session that has a source; raises SpoolError when it cannot be read."""
    try:
        return _DECODER.decode(session.source_state)
    except msgspec.DecodeError as error:
        raise SpoolError(f"What was noted of session {session.session_id} cannot be read: {error}.") from error


def sent_of(session: StoredSession) -> Sent:
    """What is noted of a session's steps."""
    state = state_of(session)
    is_subagent = state.metadata.get("agent_role") == SUBAGENT
    return Sent(path=state.path, is_subagent=is_subagent, records=state.records, old_digests=state.taken)


def marks_of(survey: Survey, sessions: Sequence[StoredSession]) -> "array[int]":
    """For each step of a file 0 when none of `sessions` took it, else the place of the one that did, from 1.

    One past them marks what another source's sessions took. Raises FileError.
    """
    marks = marked(survey.known_by, [sent_of(each) for each in sessions])
    for place in range(min(survey.copied_steps, len(marks))):
        marks[place] = marks[place] or len(sessions) + 1
    return marks


def holds_all(survey: Survey, session: StoredSession) -> bool:
    """Whether a file holds every step that a session took. Raises FileError."""
    state = state_of(session)
    taken = len(state.records) // RECORD_BYTES + len(state.taken) // DIGEST_BYTES
    return marks_of(survey, [session]).count(1) == taken


def without_undelivered(source_state: bytes, chunks: Sequence[tuple[int, bool]]) -> bytes:
    """The state of a session that ends early: of its chunks (so many steps, and whether the server has them)."""
    state = _DECODER.decode(source_state)
    old = len(state.taken) // DIGEST_BYTES
    taken, records, at = b"", b"", 0
    for steps, is_delivered in chunks:
        end = at + steps
        if is_delivered:
            taken += state.taken[at * DIGEST_BYTES : end * DIGEST_BYTES]
            records += state.records[max(0, at - old) * RECORD_BYTES : max(0, end - old) * RECORD_BYTES]
        at = end
    return msgspec.structs.replace(state, taken=taken, records=records).encode()


class History:
    """The sessions that came from transcripts, for one server, in a spool that is shared with other programs."""

    def __init__(self, spool: Spool, lock_path: Path, *, url: str) -> None:
        self.spool = spool
        self.url = url
        self._claimed: set[str] = set()
        self._by_path: dict[str, set[str]] | None = None
        try:
            self._locks = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolError(f"Cannot use {lock_path}: {error.strerror or error}.") from error

    def close(self) -> None:
        """Give up all claims; the spool stays open."""
        os.close(self._locks)

    @contextmanager
    def claimed(self, family: str) -> Iterator[bool]:
        """Hold a family's sources alone: False when something else, here or in another process, holds them already."""
        offset = int.from_bytes(hashlib.sha256(family.encode()).digest()[:8], "big") >> (64 - _LOCK_OFFSET_BITS)
        if family in self._claimed:
            yield False
            return
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except OSError:
            yield False
            return
        self._claimed.add(family)
        try:
            yield True
        finally:
            self._claimed.discard(family)
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, offset)

    @property
    def is_known(self) -> bool:
        """Whether anything was sent to this server, or signed for it, before."""
        return self.spool.totals_to(self.url).sessions > 0

    def sessions(self, source: str) -> list[StoredSession]:
        """The source's sessions on this server, oldest first, without those given up for sending it anew.

        Nor is one among them from which another one has taken over: that one knows of all its steps.
        """
        every = (each for each in self.spool.sessions_of(source) if each.moved_to is None)
        return [each for each in every if each.url == self.url and not _is_sent_anew(each)]

    def knows(self, path: Path) -> bool:
        """Whether something was sent of a file that lay at `path` when the first one was asked for."""
        return kept_path(path.resolve()) in self._sources_by_path()

    def unfinished_paths(self) -> set[str]:
        """Where the files lie, as it is kept, of which an earlier upload has not delivered all that it began."""
        return {state_of(each).path for each in self.unfinished()}

    def unfinished(self) -> list[StoredSession]:
        """The sessions of files that are not done, oldest first."""
        return [each for each in self.spool.unfinished(self.url) if each.source is not None]

    def source_of(self, survey: Survey) -> str:
        """The source of a file: the one that it was sent as before, else a new one, which is not in the spool yet.

        The caller holds the claim on its family. Raises FileError.
        """
        path = kept_path(survey.path.resolve())
        names = {each for each in self.spool.sources_of(survey.family) if family_of(each) == survey.family}
        has_id = bool(survey.transcript.session_key)
        has_times = survey.transcript.started_s is not None
        if known := self._likeliest(survey, path, names, has_same_id=has_id, needs_time=has_times and not has_id):
            return known
        others = self._sources_at(path, survey) - names
        if not has_times and has_id:  # nothing tells another session from this one but its id
            nameless = f"{survey.transcript.provider}:{plain_path(path)}"
            others = {each for each in others if family_of(each) == nameless}
        if known := self._likeliest(survey, path, others, has_same_id=False, needs_time=has_times):
            return known
        fresh = f"{survey.family}:{survey.digests[:DIGEST_BYTES].hex()}"
        if fresh in names and not self._was_never_begun(fresh):
            # Another session that begins with the same words, and may say all the same at another time.
            whole = survey.digests + survey.times.tobytes() + path.encode()
            fresh = f"{survey.family}:{hashlib.sha256(whole).digest()[:DIGEST_BYTES].hex()}"
        return fresh

    def _was_never_begun(self, source: str) -> bool:
        """Whether no server has taken anything of a source: the next try of its file is the same one."""
        return all(is_given_up(each) and not each.envelopes_accepted for each in self.spool.sessions_of(source))

    def without_copies(self, survey: Survey, source: str) -> Survey:
        """The same, knowing how many of its first steps are a copy of what was sent of another source.

        That is one that begins as this does, or its parent: a sub-agent may begin with the end of its parent's history.
        """
        if survey.transcript.started_s is None:
            return survey
        first = survey.digests[:DIGEST_BYTES].hex()
        others = self.spool.sources_like(f"{survey.transcript.provider}:", f":{first}")
        if parents := survey.parents_family:
            others |= {each for each in self.spool.sources_of(parents) if family_of(each) == parents}
        others -= {source}
        sent = [[sent_of(each) for each in self.sessions(name)] for name in sorted(others)]
        return msgspec.structs.replace(survey, copied_steps=copied_steps(survey.known_by, sent))

    def _likeliest(
        self, survey: Survey, path: str, names: set[str], *, has_same_id: bool, needs_time: bool
    ) -> str | None:
        found = {
            name: likeness(
                path,
                is_subagent=survey.transcript.is_subagent,
                steps=survey.known_by,
                sent=[sent_of(each) for each in self.sessions(name)],
                has_same_id=has_same_id,
                needs_time=needs_time,
            )
            for name in sorted(names)
        }
        best = max(found, key=lambda name: found[name], default=None)
        return best if best is not None and found[best] else None

    def _sources_at(self, path: str, survey: Survey) -> set[str]:
        """Sources whose file lay at `path`: a later version may call the same session by another id."""
        found = self._sources_by_path().get(path, set())
        return {each for each in found if each.startswith(f"{survey.transcript.provider}:")}

    def _sources_by_path(self) -> dict[str, set[str]]:
        if self._by_path is None:
            found: dict[str, set[str]] = {}
            for session in self.spool.sessions_with_source(self.url):
                if session.source is not None:
                    found.setdefault(state_of(session).path, set()).add(session.source)
            self._by_path = found  # as a whole: other threads ask meanwhile
        return self._by_path

    def send_anew(self, source: str, survey: Survey) -> None:
        """Count all steps as new. The server keeps what it has, and what is done stays noted with its credit.

        A session goes on that is not done and of which the file holds not all: nothing else does.
        """
        for session in self.sessions(source):
            if is_unfinished(session) and not holds_all(survey, session):
                continue
            if is_unfinished(session):
                self.spool.fail(session.session_id, SENT_ANEW)
            else:
                self._leave_out(session)

    def go_on_with_consent(self, source: str) -> None:
        """Count as new what was refused while consent was withdrawn; behind what was accepted, as a further session."""
        for session in self.sessions(source):
            if session.problem != WITHDRAWN:
                continue
            if session.envelopes_accepted or is_unfinished(session):
                self.spool.explain(session.session_id, ENDED_BY_WITHDRAWAL)
            else:
                self._leave_out(session)

    def _leave_out(self, session: StoredSession) -> None:
        after = msgspec.structs.replace(state_of(session), is_sent_anew=True)
        self.spool.restate(session.session_id, after.encode())


def family_of(source: str) -> str:
    """The family of a source: the agent, and its own id of the session."""
    return source.rpartition(":")[0]


def failure_of(sessions: Iterable[StoredSession]) -> str | None:
    """Why the source of `sessions` cannot be delivered whole, ever; None as long as it can."""
    for session in sessions:
        if not is_unfinished(session) and session.problem and session.problem not in GOES_ON:
            return session.problem
    return None


def _is_sent_anew(session: StoredSession) -> bool:
    return is_given_up(session) or state_of(session).is_sent_anew


def is_given_up(session: StoredSession) -> bool:
    """Whether a session was given up before anything of it counted: for sending its file anew, or at its opening."""
    is_over = session.state is SessionState.FAILED and session.moved_to is None
    return is_over and session.problem is not None and session.problem.startswith(GIVEN_UP)


def was_never_opened(session: StoredSession) -> bool:
    """Whether the server has refused to open a session: nothing of it is there, whether it waits or was given up."""
    return session.problem is not None and session.problem.startswith(REFUSED_OPENING) and not session.opened


def is_unfinished(session: StoredSession) -> bool:
    """Whether something of a session is still to be delivered or to be closed."""
    return session.state in {SessionState.RECORDING, SessionState.ENDED}


def steps_waiting(sessions: Iterable[StoredSession]) -> int:
    """How many steps were taken from the file, and have not been answered yet."""
    return sum(each.steps - each.steps_accepted for each in sessions if has_undelivered(each))


def is_not_opened(session: StoredSession) -> bool:
    """Whether a session waits that the server has refused to open."""
    return is_unfinished(session) and not session.opened and session.problem is not None


def is_gone(session: StoredSession) -> bool:
    """Whether the file that a session was read from lies there no more, nor the archive that it is in.

    What cannot be asked is not gone; nor is a place where another file lies now.
    """
    try:
        path_of(state_of(session).path).stat()
    except FileNotFoundError:
        return True
    except (OSError, SpoolError):
        return False
    return False


def steps_forgotten(sessions: Iterable[StoredSession]) -> int:
    """How many steps were signed, and dropped at their sender's word (`forgetting`): they count as sent."""
    return sum(each.steps - each.steps_accepted for each in sessions if each.problem == FORGOTTEN)


def has_undelivered(session: StoredSession) -> bool:
    """Whether something of a session is signed, or about to be, and not answered."""
    return is_unfinished(session) and session.envelopes > session.envelopes_accepted + session.envelopes_refused

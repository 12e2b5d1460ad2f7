"""A session as it will be once the chunks that wait for a common commit are on disk.

The state itself moves on only after the append, so that a failed one leaves nothing to undo; until then the next
envelope is decided on against what stands here. With no line waiting it is the session as it is.
"""

from collections.abc import Callable, Sequence

import msgspec

from actors.envelopes.reading import Envelope
from actors.envelopes.refusals import Refusal
from actors.sessions.lifecycle import State
from actors.sessions.outcomes import Accepted
from actors.sessions.state import SessionState
from persistence.format.records import EnvelopeKind
from persistence.journals.journal import Line


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a session stands to one envelope: all of it that decides.

    `secret` is what envelopes are verified with, empty where it was lost; no repr shows it. `earlier` is the first
    answer to this very envelope, as far as its sequence and HMAC tell. `bytes_total` is no less than the bytes that
    the session has in the journal.
    """

    lifecycle: State
    secret: bytes
    earlier: Accepted | Refusal | None
    envelope_count: int
    expected_sequence: int
    bytes_total: int
    contributor: bytes | None = None
    """Whom its first chunk names (`actors.consent.restrictions`); None before there is one."""
    signed_by: bytes | None = None
    """Who has signed its opening with a registered key; None for nobody."""

    def __repr__(self) -> str:
        return f"<Standing {self.lifecycle.name} expects {self.expected_sequence}>"

    @property
    def has_keys(self) -> bool:
        """Whether envelopes can be verified."""
        return bool(self.secret)


def standing_of(state: SessionState, envelope: Envelope, *, waiting_lines: int = 0, waiting_bytes: int = 0) -> Standing:
    """Return how a session stands to an envelope, behind plain chunks that wait."""
    is_feedback = envelope.type == EnvelopeKind.USER_FEEDBACK
    return Standing(
        lifecycle=state.lifecycle,  # which chunks do not move
        secret=state.secret,
        earlier=state.earlier_answer(envelope.attestation, feedback=is_feedback),
        envelope_count=state.envelope_count + waiting_lines,
        expected_sequence=state.expected_sequence + waiting_lines,
        bytes_total=state.bytes_total + waiting_bytes,
        contributor=state.contributor,
        signed_by=state.signed_by,
    )


class Prospect:
    """A session with the lines that wait; those have its next sequence numbers, without gaps.

    `fits_one_commit` says whether so many lines of so many bytes can be appended together; one alone always can.
    """

    __slots__ = ("_bytes", "_fits_one_commit", "_lines", "_state")

    def __init__(self, state: SessionState, fits_one_commit: Callable[[int, int], bool]) -> None:
        self._state = state
        self._fits_one_commit = fits_one_commit
        self._lines: list[Line] = []
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Prospect {self._state!r} and {len(self._lines)} lines of {self._bytes} bytes>"

    def standing(self, envelope: Envelope) -> Standing:
        """Return how the session will stand to an envelope; what only waits counts, but has no answer yet."""
        return standing_of(self._state, envelope, waiting_lines=len(self._lines), waiting_bytes=self._bytes)

    def add(self, line: Line) -> bool:
        """Let the line of the next envelope wait, or return False if it has no room beside those that do."""
        size_bytes = self._bytes + line.size_bytes
        if not self._fits_one_commit(len(self._lines) + 1, size_bytes):
            return False
        self._lines.append(line)
        self._bytes = size_bytes
        return True

    def take(self) -> Sequence[Line]:
        """Return the waiting lines, and hold none from now on."""
        lines, self._lines, self._bytes = self._lines, [], 0
        return lines

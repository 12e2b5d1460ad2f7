"""What the index knows of a journal's lines.

An actor hands a record to the journal together with the line's text; recovery and `rebuild` derive an equal record
from the line alone (`persistence.journals.lines`). Projection reads records and nothing else, so both
ways end in the same rows.
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from persistence.format.consent_events import ConsentEvent


class JournalName(StrEnum):
    """The journals, each a folder of the data directory with a file a UTC day."""

    ENVELOPES = "envelopes"
    REFUSED = "refused"
    TRAJECTORIES = "trajectories"
    CONSENT = "consent"
    INTAKE = "intake"
    CORPUS = "corpus"
    AUDIT = "audit"
    OPERATIONS = "operations"
    DIGESTS = "digests"


INGESTED: Final = (
    JournalName.ENVELOPES,
    JournalName.REFUSED,
    JournalName.TRAJECTORIES,
    JournalName.CONSENT,
    JournalName.INTAKE,
)
"""The journals that the server writes, and projects into its databases.

The corpus is curation's alone, and the audit journal whoever's turn it is: nothing is projected from that,
and no row is made of operations or of the ledger's digests.
"""

FORGETTING: Final = frozenset({JournalName.REFUSED, JournalName.OPERATIONS})
"""The journals whose oldest days are dropped, by a quota or when their time is over."""

OF_SESSIONS: Final = (JournalName.ENVELOPES, JournalName.REFUSED, JournalName.TRAJECTORIES)
"""Those of them whose lines are of a session each: the journal of consent names contributors by a digest alone."""


class EnvelopeKind(StrEnum):
    """The kinds of line in the envelopes journal; the first three are the contract's envelope types."""

    CHUNK = "CHUNK"
    SESSION_CLOSE = "SESSION_CLOSE"
    USER_FEEDBACK = "USER_FEEDBACK"
    SERVER_CLOSE = "SERVER_CLOSE"
    """Written by the server itself for an HTTP close or an abandonment: the durable fact that a session ended."""


class ClosedBy(StrEnum):
    """What ended a session."""

    SESSION_CLOSE = "session_close"
    HTTP_CLOSE = "http_close"
    ABANDONED = "abandoned"
    WITHDRAWN = "withdrawn"
    """Its contributor withdrew: nothing is stitched, and nothing credited."""


class EnvelopeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the envelopes journal.

    `sequence` is None for feedback and server closes, which neither check nor move the sequence. `gap` is how many
    sequence numbers were skipped just before this one (only with `sequence_gaps = "accept"`). `letter` is the number of
    the line in the refused journal that it was taken in from, late: that line has used up its sequence number.
    """

    envelope_id: str
    session_id: str
    kind: EnvelopeKind
    sequence: int | None = None
    session_hmac: str = ""
    gap: int = 0
    chunk_sequence: int | None = None
    contributor_id: str | None = None
    provider: str = ""
    model: str = ""
    steps: int = 0
    signal: str | None = None
    closed_by: ClosedBy | None = None
    letter: int | None = None


class RefusalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the refused journal (the dead letters): authentic, not acceptable, kept for a later version.

    `sequence` is the number that the refusal consumed; None for feedback, which has none. Without its body, the line
    says only how long that was, and its checksum.
    """

    envelope_id: str
    session_id: str
    kind: str
    sequence: int | None
    session_hmac: str
    gap: int = 0
    code: str
    reason: str
    with_body: bool = True


class TrajectoryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the trajectories journal: a session stitched and scored, which the ledger is projected from."""

    trajectory_id: str
    session_id: str
    contributor_id: str
    provider: str
    model: str
    steps: int
    tokens: int
    chunks: int
    base_points: int
    total_points: float
    multiplier_breakdown: str
    """The score's parts as JSON text, member for member as in the line's `score`."""
    closed_by: ClosedBy
    copied_steps: int = 0
    copied_from: str | None = None
    """The session that most of the copied steps were first seen in."""
    fingerprints: "array[int]" = msgspec.field(default_factory=lambda: array("q"))
    """Of its runs of steps, by the place of their first step (`persistence.format.step_runs`)."""


class CorpusRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the corpus journal: a trajectory as it may be shown, or that it may not be shown any more.

    A later line of the same trajectory takes the place of an earlier one. `taken_back` is why there is no record of it
    from then on; all that describes one is missing then. `findings` counts what was scrubbed, `withheld` the texts that
    could not be, `feedback` what was said of the session. `bands` are 32 signed numbers of 64 bits, big-endian: records
    that share one may be near copies, which their `minima` tell. Of an erased line nothing follows, neither a record
    nor that there is none.
    """

    trajectory_id: str
    record_id: str
    session_id: str
    contributor_id: str
    rules: str
    taken_back: str | None = None
    is_erased: bool = False
    provider: str = ""
    model: str = ""
    started_at: str | None = None
    steps: int = 0
    tokens: int = 0
    feedback: int = 0
    findings: int = 0
    withheld: int = 0
    cognitive_target: str | None = None
    quality: int = 0
    tier: str = ""
    training_eligible: bool = False
    domain: str | None = None
    sha256: str = ""
    cluster: str = ""
    minima: bytes = b""
    bands: bytes = b""


class JudgementRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the corpus journal: what a judge said of a record, kept apart from what was derived.

    It is about the steps whose `sha256` it names, and counts for nothing once the record has others or is taken back. A
    later one of the same trajectory takes its place. `rules` says by which version of the question it was asked.
    """

    trajectory_id: str
    record_id: str
    session_id: str
    contributor_id: str
    rules: str
    model: str
    sha256: str
    cognitive_target: str
    quality: int
    outcome: str
    rationale: str


class ConsentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the consent journal: what a contributor said. Its subject is a digest; `sha256` is its hash."""

    event: ConsentEvent
    sha256: str


class ContributorKeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the consent journal: the key that a contributor signs with from now on, base64 of 32 bytes.

    `at_us` is microseconds since the epoch, UTC.
    """

    subject: str
    public_key: str
    at_us: int


class IntakeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the intake journal: a text that an application handed over for one of its users.

    The user is known by a digest alone (`subject`).
    """

    record_id: str
    subject: str
    session_id: str
    content_type: str


class CorpusTextRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the corpus journal: a text of the intake as it may be shown, or that it may not be shown any more.

    A later line of the same `record_id` takes the place of an earlier one; `taken_back` as in `CorpusRecord`. `chars`
    are those of the scrubbed content, `sha256` is its digest.
    """

    record_id: str
    subject: str
    session_id: str
    content_type: str
    rules: str
    taken_back: str | None = None
    domain: str = ""
    chars: int = 0
    findings: int = 0
    withheld: int = 0
    sha256: str = ""


class ReadUpTo(msgspec.Struct, frozen=True, order=True):
    """Up to where a file of corrections was read: which file it was (its inode), and the byte behind the last line."""

    inode: int = 0
    offset: int = 0


class OperationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the operations journal: something that was done, well or not, as whoever did it says.

    `read_up_to` is of a correction, which was read from a file.
    """

    operation: msgspec.Raw
    read_up_to: ReadUpTo | None = None


class SequenceGap(msgspec.Struct, frozen=True):
    """`missing` sequence numbers were skipped just before the envelope with the sequence `before`."""

    before: int
    missing: int


SessionRecord = EnvelopeRecord | RefusalRecord | TrajectoryRecord
"""What lines say that belong to a session."""

CorpusLineRecord = CorpusRecord | CorpusTextRecord | JudgementRecord
"""What lines of the corpus say."""

ErasableRecord = SessionRecord | IntakeRecord | CorpusLineRecord
"""What lines say that can be erased."""


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit journal: who has changed what, and from where; when, says the line's frame.

    `actor` is `command`, or the id of a token or of a browser session; `address` is empty for a command.
    """

    actor: str
    action: str
    subject: str
    address: str


class DigestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the digests journal: the root over the lines `first_n` to `last_n` of trajectories/, and the chain.

    `previous_sha256` is the hash of the entry before (`persistence.digests`).
    """

    day: str
    first_n: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    last_n: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    root: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    previous_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


Record = ErasableRecord | ConsentRecord | ContributorKeyRecord | AuditRecord | OperationRecord | DigestRecord


Place = Annotated[int, msgspec.Meta(ge=1, le=2**31)]
"""A step's place in its trajectory, from 1."""


class CopiedRun(msgspec.Struct, frozen=True, kw_only=True):
    """Steps of a trajectory that an earlier one holds already: places in `trajectory_log`, from 1, both included."""

    from_step: Place
    to_step: Place
    session_id: str
    trajectory_id: str

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return max(0, self.to_step - self.from_step + 1)


def most_copied_from(runs: Iterable[CopiedRun]) -> str | None:
    """The session that most steps are copied from, of several the first; None without a run."""
    steps: Counter[str] = Counter()
    for run in runs:
        steps[run.session_id] += run.steps
    return max(steps, key=steps.__getitem__, default=None)


class Position(msgspec.Struct, frozen=True, order=True):
    """Where a line stands: the journal's dense line number, the file's UTC day, its bytes, and when it was received.

    `n` counts from 1. `length` is in bytes and includes the newline. `at` is seconds since the epoch, UTC.
    """

    n: int
    day: str
    offset: int
    length: int
    at: float

    @property
    def end(self) -> "Mark":
        """Directly behind the line."""
        return Mark(self.n, self.day, self.offset + self.length)


class Mark(msgspec.Struct, frozen=True, order=True):
    """A place between two lines: behind line `n`, at byte `offset` of the file of `day` ("" before the first file).

    How far a journal reaches, how far a database has projected it, where a scan goes on.
    """

    n: int = 0
    day: str = ""
    offset: int = 0


class Dropped(msgspec.Struct, frozen=True):
    """What was dropped of a journal so far: its lines up to `n`, which stood in files of days up to `day`.

    `files` and `size_bytes` are how many files those were, and their bytes.
    """

    n: int = 0
    day: str = ""
    files: int = 0
    size_bytes: int = 0


class Committed(msgspec.Struct, frozen=True):
    """A record with the place where its line is on disk."""

    record: Record
    position: Position

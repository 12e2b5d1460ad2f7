"""A trajectory's line compared with what stitching its session's envelopes gives, member by member.

In memory are the line, which is one, and of the session's lines one at a time.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from actors.audit import points
from actors.audit.signatures import NESTING_MAX
from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.refusals import Refusal
from actors.trajectories.copies import copied_long_runs, copied_runs, remainder_fingerprints
from actors.trajectories.enrichment import enrich
from actors.trajectories.lines import JournalLines
from actors.trajectories.scoring import score
from actors.trajectories.settings import ScoringSettings
from actors.trajectories.stitching import stitch
from actors.trajectories.writing import TrajectoryText
from persistence.databases.fingerprints import FirstSeen
from persistence.databases.session_index import LinePosition
from persistence.format import json_text
from persistence.format.erased_names import is_erased_session
from persistence.format.records import ClosedBy, CopiedRun, EnvelopeKind, SequenceGap, TrajectoryRecord
from persistence.format.step_runs import RUN_STEPS, StepDigests
from persistence.journals.reading import JournalReader

SHOWN_BYTES_MAX = 80
"""Values that are shown as a whole; of a longer one it is only said that it differs."""

LATER_MEMBERS = frozenset({"copied_steps", "copied_from", "started_at", "ended_at", "time_shift_s"})
"""Lines of earlier versions do not have them."""

_COPIES = msgspec.json.Decoder(tuple[CopiedRun, ...])
_COUNT = msgspec.json.Decoder(int)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


class Compared(msgspec.Struct, frozen=True):
    """What of a line differs, a sentence each; and which parts of its score the settings now would make others."""

    faults: list[str]
    otherwise_scored: list[str] = []


class Session(msgspec.Struct, frozen=True):
    """What a trajectory is made of: the places of a session's lines, the skipped numbers, and what ended it.

    `first_seen` looks up which fingerprints stand in lines before its own, and where.
    """

    places: Sequence[LinePosition]
    gaps: Sequence[SequenceGap]
    closed_by: ClosedBy
    first_seen: Callable[[Iterable[int]], Awaitable[Mapping[int, FirstSeen]]]


async def compare(
    line: bytes, record: TrajectoryRecord, session: Session, envelopes: JournalReader, settings: ScoringSettings
) -> Compared:
    """Compare a trajectory's line with its session's envelopes (slow for large sessions).

    Raises StorageDamage where one of those is not what was stored.
    """
    stored = _members(line)
    if stored is None:
        return Compared(["it is no JSON object of members that each stand there once"])
    try:
        count = len(json_text.decode(_ITEMS, stored.member("feedback") or b"null"))
    except msgspec.DecodeError:
        return Compared(["its feedback is no list"])
    try:
        chunks = json_text.decode(_COUNT, stored.member("total_chunks") or b"null")
    except msgspec.DecodeError:
        return Compared(["its total_chunks is no number"])
    places = _stitched(session.places, count, chunks)
    if isinstance(places, str):
        return Compared([places])
    lines = JournalLines(envelopes, [each.kind for each in places], [each.position for each in places])
    try:
        trajectory = stitch(record.session_id, lines, gaps=session.gaps, closed_by=session.closed_by)
    except (ValueError, msgspec.DecodeError) as error:
        return Compared([f"its session's envelopes cannot be stitched: {error}"])
    if trajectory is None:
        return Compared([f"its session {record.session_id!r} has no chunk"])
    copies = _copies_said(stored)
    digests = trajectory.step_digests
    seen = await session.first_seen(record.fingerprints)
    long_runs = copied_long_runs(digests, record.fingerprints, seen, settings)
    seen = {**seen, **await _short_seen(copies or (), digests, long_runs, session)}
    found = copied_runs(digests, long_runs, seen, settings)
    new = trajectory.step_kinds.counts(without=copies or ())
    now = score(
        trajectory.step_kinds.counts(without=() if copies is None else found),
        trajectory.model,
        trajectory.task_complexity,
        settings,
    )
    expected = TrajectoryText(record.trajectory_id, trajectory, now, enrich(), lines, copies or ())
    faults = [
        sentence
        for name in expected.names
        if name != "score" and (name in stored.member_names() or name not in LATER_MEMBERS)
        for sentence in _differing(stored, expected, name)
    ]
    faults += _unfounded(copies or (), digests, record.fingerprints, seen)
    try:
        scored = points.read_score(stored.member("score") or b"")
    except msgspec.DecodeError as error:
        return Compared([*faults, f"its score cannot be read: {error}"])
    faults += points.faults(scored, new, trajectory.task_complexity)
    otherwise = points.differences(scored, now)
    return Compared(faults, otherwise if copies is None or copies == found else ["copied_from", *otherwise])


def _copies_said(stored: Envelope) -> tuple[CopiedRun, ...] | None:
    """The runs that a line says are copies; None for a line of a version that did not look."""
    text = stored.member("copied_from")
    return None if text is None else json_text.decode(_COPIES, text)


async def _short_seen(
    copies: Sequence[CopiedRun], digests: StepDigests, long_runs: Sequence[CopiedRun], session: Session
) -> Mapping[int, FirstSeen]:
    """Where the one or two steps were first seen that may be copies between long runs, or are said to be."""
    left = remainder_fingerprints(digests, long_runs)
    left += [fingerprint for run in copies for fingerprint in _of_short(run, digests)]
    return await session.first_seen(left) if left else {}


def _of_short(run: CopiedRun, digests: StepDigests) -> Iterator[int]:
    if 0 < run.steps < RUN_STEPS and run.to_step <= len(digests):
        yield digests.fingerprint(run.from_step - 1, run.to_step - 1)


def _unfounded(
    copies: Sequence[CopiedRun], digests: StepDigests, fingerprints: Sequence[int], seen: Mapping[int, FirstSeen]
) -> Iterator[str]:
    """Yield what is said to be a copy of a trajectory that does not hold it, or that is not there before it."""
    runs = fingerprints[: max(0, len(fingerprints) - RUN_STEPS + 1)]
    for run in copies:
        # A run that another one overlaps is shorter than what it was recognised by.
        around = [*runs[max(0, run.from_step - RUN_STEPS) : run.to_step], *_of_short(run, digests)]
        sources = {(seen[each].session_id, seen[each].trajectory_id) for each in around if each in seen}
        # Whose they were may have been erased since: then the line still says what nobody else does any more.
        has_erased = any(is_erased_session(session_id) for session_id, _ in sources)
        if (run.session_id, run.trajectory_id) not in sources and not has_erased:
            yield (
                f"its steps {run.from_step} to {run.to_step} are said to stand in session {run.session_id!r}, and no "
                "line before it of that session holds them"
            )


def _members(line: bytes) -> Envelope | None:
    # Whether it is UTF-8, and how deep it nests, was checked of each envelope; here it would take as much memory again.
    found = read_envelope(line, nesting_max=NESTING_MAX, is_text=True)
    return None if isinstance(found, Refusal) else found


def _stitched(places: Sequence[LinePosition], feedback: int, chunks: int) -> list[LinePosition] | str:
    """Return the lines that a trajectory with so much feedback and so many chunks was stitched from.

    Feedback that came before the end is in it, and what came between the end and stitching. Chunks behind the end were
    taken in late: they are in it only where the session ended without any.
    """
    of_kind = [each for each in places if each.kind is EnvelopeKind.USER_FEEDBACK]
    ends = [each.position.n for each in places if each.kind in {EnvelopeKind.SESSION_CLOSE, EnvelopeKind.SERVER_CLOSE}]
    before_end = sum(each.position.n < min(ends, default=0) for each in of_kind)
    if not before_end <= feedback <= len(of_kind):
        return f"it holds {feedback} feedback, and its session has {before_end} before its end, {len(of_kind)} in all"
    taken = {each.position.n for each in of_kind[:feedback]} | {each.position.n for each in _chunks(places, chunks)}
    sent = {EnvelopeKind.USER_FEEDBACK, EnvelopeKind.CHUNK}
    return [each for each in places if each.kind not in sent or each.position.n in taken]


def _chunks(places: Sequence[LinePosition], stitched: int) -> list[LinePosition]:
    """The chunks before the end; of a session that ended without any the first so many."""
    of_kind = [each for each in places if each.kind is EnvelopeKind.CHUNK]
    ends = [each.position.n for each in places if each.kind in {EnvelopeKind.SESSION_CLOSE, EnvelopeKind.SERVER_CLOSE}]
    before_end = [each for each in of_kind if not ends or each.position.n < min(ends)]
    return before_end or of_kind[:stitched]


def _differing(stored: Envelope, expected: TrajectoryText, name: str) -> Iterator[str]:
    """Compare one member, piece by piece."""
    place = next((each for each in stored.members if each.name == name), None)
    if place is None and name == "repeated_members":
        return  # lines of earlier versions do not have it
    if place is None:
        yield f"it has no {name}"
        return
    if name == "contributor_id" and stored.body[place.value_start : place.value_end].lower() == b"".join(
        expected.value(name)
    ):
        return  # lines of earlier versions have it as the client wrote it
    whole, at = memoryview(stored.body)[: place.value_end], place.value_start
    for piece in expected.value(name):
        if whole[at : at + len(piece)] != piece:
            break
        at += len(piece)
    else:
        if at == place.value_end:
            return
    given = b"".join(_beginning(expected.value(name)))
    held = stored.body[place.value_start : place.value_end]
    if len(given) > SHOWN_BYTES_MAX or len(held) > SHOWN_BYTES_MAX:
        yield f"its {name} is not what its session's envelopes give"
    else:
        sentence = b"its %s is %s, and its session's envelopes give %s" % (name.encode(), held, given)
        yield sentence.decode(errors="replace")


def _beginning(pieces: Iterator[bytes]) -> Iterator[bytes]:
    length = 0
    for piece in pieces:
        yield piece
        length += len(piece)
        if length > SHOWN_BYTES_MAX:
            return

"""Stitching: order, totals, and every byte as the client sent it."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.trajectories.enrichment import enrich
from actors.trajectories.lines import HeldLines, Span
from actors.trajectories.scoring import score
from actors.trajectories.settings import ScoringSettings
from actors.trajectories.stitching import TOOL_CHARS_MAX, StepPlaces, Trajectory, stitch
from actors.trajectories.writing import PIECE_BYTES, TrajectoryText
from persistence.format.records import ClosedBy, EnvelopeKind, SequenceGap

METADATA = {"provider": "codex", "model_engine": "gpt-5.5", "task_complexity": "heavy", "agent_role": "backend"}
CONTRIBUTOR = "0123456789abcdef0123456789abcdef"


def _step(number: int, type_: str = "thought", **members: Any) -> dict[str, Any]:
    return {"step": number, "type": type_, "timestamp": 1795168186.5, "content": f"n{number}", **members}


def _chunk(sequence: int, *steps: dict[str, Any], **members: Any) -> bytes:
    """A chunk as its journal line holds it, in the way that JSON.stringify writes."""
    line = {
        "envelope_id": "env_1",
        "session_id": "sess_1",
        "chunk_sequence": sequence,
        "contributor_id": CONTRIBUTOR,
        "attestation": {"session_hmac": "0" * 64, "sequence": sequence, "app_version_hash": "0" * 64},
        "metadata": METADATA,
        "trajectory_log": list(steps),
        **members,
        "received": {"n": 12, "at": "2026-11-20T10:12:17.123456Z", "batch": 10},
        "crc32": "9f3a01bc",
    }
    return json.dumps(line, separators=(",", ":")).encode()


CLOSE = (
    b'{"session_id":"s","type":"SESSION_CLOSE","metadata":{"a":1.0},"outcome":{"status":"SUCCESS","x":1e2},"crc32":""}'
)


class Stitched:
    """A trajectory, with its texts read from the lines that it was made of."""

    def __init__(
        self,
        chunks: tuple[bytes, ...],
        *,
        close: bytes | None = None,
        feedback: tuple[bytes, ...] = (),
        gaps: tuple[SequenceGap, ...] = (),
        closed_by: ClosedBy = ClosedBy.HTTP_CLOSE,
    ) -> None:
        texts = [*chunks, *((close,) if close is not None else ()), *feedback]
        kinds = [EnvelopeKind.CHUNK] * len(chunks)
        kinds += [EnvelopeKind.SESSION_CLOSE] * (close is not None) + [EnvelopeKind.USER_FEEDBACK] * len(feedback)
        self.lines = HeldLines(kinds, texts)
        trajectory = stitch("sess_1", self.lines, gaps=gaps, closed_by=closed_by)
        assert trajectory is not None
        self.trajectory: Trajectory = trajectory

    def text(self, span: Span) -> bytes:
        """The bytes that stand at a place."""
        return self.lines.text(span.line)[span.start : span.end]

    @property
    def steps(self) -> tuple[bytes, ...]:
        """The steps' texts, in the trajectory's order."""
        return tuple(self.text(span) for span in self.trajectory.steps)

    @property
    def pieces(self) -> list[bytes]:
        """The pieces of its line's members."""
        trajectory = self.trajectory
        points = score(trajectory.step_type_counts, trajectory.model, trajectory.task_complexity, ScoringSettings())
        written = TrajectoryText("traj_1", trajectory, points, enrich(), self.lines)
        pieces = list(written)
        assert sum(map(len, pieces)) == len(written), "its length is known before it is written"
        assert list(written) == pieces, "it can be written again"
        return pieces

    @property
    def line(self) -> bytes:
        """Its line, without what the journal adds."""
        return b"{" + b"".join(self.pieces) + b"}"


def _stitch(*chunks: bytes, **arguments: Any) -> Stitched:
    return Stitched(chunks, **arguments)


def test_a_session_without_chunks_is_no_trajectory() -> None:
    """There is nothing to stitch, whatever else it sent."""
    lines = HeldLines([EnvelopeKind.SESSION_CLOSE], [CLOSE])
    assert stitch("s", lines, gaps=[], closed_by=ClosedBy.ABANDONED) is None


def test_chunks_and_steps_are_put_in_order() -> None:
    """By chunk sequence first, so that "first chunk" means the first of the session, then by step number."""
    late = _chunk(1, _step(3), _step(5), metadata={**METADATA, "provider": "gemini"}, contributor_id="f" * 32)
    stitched = _stitch(late, _chunk(0, _step(4), _step(1)))
    assert [json.loads(step)["step"] for step in stitched.steps] == [1, 3, 4, 5]
    assert (stitched.trajectory.provider, stitched.trajectory.contributor_id, stitched.trajectory.total_chunks) == (
        "codex",
        CONTRIBUTOR,
        2,
    )


def test_steps_of_the_same_number_are_all_kept_in_the_order_of_their_chunks() -> None:
    """Chunks of the same sequence, too: nothing tells which one would be the right one."""
    stitched = _stitch(
        _chunk(1, _step(1, content="c")), _chunk(0, _step(1, content="a")), _chunk(0, _step(1, content="b"))
    )
    assert [json.loads(step)["content"] for step in stitched.steps] == ["a", "b", "c"]
    assert stitched.trajectory.total_chunks == 3


def test_totals_come_from_the_steps() -> None:
    """Tokens are summed, tools unique and sorted, types counted; a tool that is no text is no tool."""
    stitched = _stitch(
        _chunk(
            0,
            _step(1, token_count=5),
            _step(2, "action", tool="Read", token_count=7),
            _step(3, "action", tool="Bash"),
            _step(4, "observation", tool="Read", token_count=0),
            _step(5, "action", tool=None),
            _step(6, "action", tool={"name": "Edit"}),
            _step(7, "action", tool=""),
        )
    )
    assert stitched.trajectory.total_tokens == 12
    assert stitched.trajectory.tools == ("Bash", "Read")
    assert stitched.trajectory.step_type_counts == {"thought": 1, "action": 5, "observation": 1}
    assert (stitched.trajectory.model, stitched.trajectory.task_complexity) == ("gpt-5.5", "heavy")


def test_an_empty_chunk_counts_as_a_chunk() -> None:
    """A session of one empty chunk is a trajectory without steps."""
    stitched = _stitch(_chunk(0, metadata={"provider": "codex", "model_engine": "o3"}))
    assert (stitched.steps, stitched.trajectory.total_chunks, stitched.trajectory.task_complexity) == ((), 1, None)
    assert json.loads(stitched.line)["trajectory_log"] == []


def test_the_line_has_the_members_in_their_order() -> None:
    """All that the trajectories journal promises, with the client's own JSON as it was written."""
    feedback = b'{"session_id":"s","type":"USER_FEEDBACK","feedback":{"signal":"accepted","timestamp":1.0},"crc32":"0"}'
    stitched = _stitch(
        _chunk(0, _step(1, "delegate", to="frontend-1", token_count=5), _step(2, "resolution", tool="Bash")),
        close=CLOSE,
        feedback=(feedback, feedback),
        gaps=(SequenceGap(before=5, missing=2),),
        closed_by=ClosedBy.SESSION_CLOSE,
    )
    line = stitched.line
    assert b'"close_metadata":{"a":1.0},' in line
    assert b'"outcome":{"status":"SUCCESS","x":1e2},' in line
    found = json.loads(line)
    assert found.pop("score")["basePoints"] == 2
    assert list(found.items()) == list(
        {
            "trajectory_id": "traj_1",
            "session_id": "sess_1",
            "contributor_id": CONTRIBUTOR,
            "metadata": METADATA,
            "close_metadata": {"a": 1.0},
            "trajectory_log": [
                _step(1, "delegate", to="frontend-1", token_count=5),
                _step(2, "resolution", tool="Bash"),
            ],
            "outcome": {"status": "SUCCESS", "x": 100.0},
            "total_steps": 2,
            "copied_steps": 0,
            "copied_from": [],
            "started_at": "2026-11-20T09:49:46.500000Z",
            "ended_at": "2026-11-20T09:49:46.500000Z",
            "time_shift_s": None,
            "total_tokens": 5,
            "unique_tools_used": ["Bash"],
            "step_type_distribution": {"delegate": 1, "resolution": 1},
            "total_chunks": 1,
            "sequence_gaps": [{"before": 5, "missing": 2}],
            "coordination_links": [
                {"step": 1, "type": "delegate", "partner": "frontend-1", "direction": "sent", "answered_by": None}
            ],
            "feedback": [{"signal": "accepted", "timestamp": 1.0}] * 2,
            "closed_by": "session_close",
            "enrichment": msgspec.to_builtins(enrich()),
        }.items()
    )


def test_the_real_times_are_said_whatever_they_were_moved_by() -> None:
    """Steps stay as they were signed; each chunk's own shift counts for its steps, the first chunk's is kept."""
    moved = [
        _chunk(1, _step(2, timestamp=1_795_168_186_500), metadata=METADATA | {"time_shift_s": 86_400}),
        _chunk(0, _step(1), _step(3, timestamp=1_795_168_190.25), metadata=METADATA | {"time_shift_s": 0.5}),
    ]
    found = json.loads(_stitch(*moved).line)
    assert (found["started_at"], found["ended_at"]) == ("2026-11-19T09:49:46.500000Z", "2026-11-20T09:49:49.750000Z")
    assert found["time_shift_s"] == 0.5
    assert found["metadata"]["time_shift_s"] == 0.5
    assert [step["timestamp"] for step in found["trajectory_log"]][1] == 1_795_168_186_500


@pytest.mark.parametrize("shift", ["a day", None, [], 1e11, True])
def test_a_shift_that_earlier_versions_took_as_it_was_is_none(shift: object) -> None:
    found = json.loads(_stitch(_chunk(0, _step(1), metadata=METADATA | {"time_shift_s": shift})).line)
    assert (found["started_at"], found["time_shift_s"]) == ("2026-11-20T09:49:46.500000Z", None)


def test_a_trajectory_without_a_step_has_no_times() -> None:
    found = json.loads(_stitch(_chunk(0)).line)
    assert (found["started_at"], found["ended_at"], found["time_shift_s"]) == (None, None, None)


def test_without_a_close_of_the_client_there_is_no_outcome() -> None:
    """Null, as the contract's readers expect, and who closed it instead."""
    found = json.loads(_stitch(_chunk(0, _step(1)), closed_by=ClosedBy.ABANDONED).line)
    assert (found["outcome"], found["close_metadata"], found["closed_by"]) == (None, None, "abandoned")


def test_the_line_has_no_line_break() -> None:
    """Line breaks between tokens become spaces, those inside texts stay escaped."""
    spread = json.dumps(json.loads(_chunk(0, _step(1, content="a\nb"), _step(2))), indent=2).encode()
    line = _stitch(spread.replace(b"\n", b"\r\n")).line
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["trajectory_log"] == [_step(1, content="a\nb"), _step(2)]


def test_numbers_that_no_double_holds_do_not_hinder() -> None:
    """The schema passes over what it does not name, so stitching must, too."""
    text = _chunk(0, _step(1, tool="HUGE", arguments=["HUGE"]), _step(2, "delegate", to="HUGE"))
    line = _stitch(text.replace(b'"HUGE"', b"1e400")).line
    assert line.count(b"1e400") == 3


def test_a_text_that_never_passed_the_schema_is_an_error() -> None:
    """Not a trajectory with holes: such a text means a damaged store."""
    for text in (b"{", b'{"session_id":"s","chunk_sequence":0,"contributor_id":"c","trajectory_log":[]}', CLOSE):
        with pytest.raises((ValueError, msgspec.DecodeError)):
            _stitch(text)


ODD_TEXTS = st.text(
    st.sampled_from([*'ab"\\/[]{}:, \n\t\x00\u2028é日\U0001f680', "\ud83d", "\ude80", "\ufffd"]), max_size=12
)
ODD_JSON = st.recursive(
    ODD_TEXTS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(
    steps=st.lists(st.dictionaries(st.just("x") | ODD_TEXTS, ODD_JSON, max_size=3), max_size=5),
    other=st.dictionaries(ODD_TEXTS, ODD_JSON, max_size=3),
    indent=st.sampled_from([None, 1]),
    seed=st.integers(0, 2**32),
)
def test_every_step_keeps_its_bytes(
    steps: list[dict[str, Any]], other: dict[str, Any], indent: int | None, seed: int
) -> None:
    """Lone surrogates, escapes, quotes and brackets in any member leave every part byte for byte what was sent."""
    # A step's own members come last, so that an odd one of the same name cannot replace them.
    log = [{**odd, **_step(number)} for number, odd in enumerate(steps, 1)]
    members = {**other, **json.loads(_chunk(0, *log)), "metadata": {**other, **METADATA}}
    shuffled = list(members.items())
    random.Random(seed).shuffle(shuffled)
    text = json.dumps(dict(shuffled), indent=indent)
    # Read back, because two halves of a pair side by side are a pair in JSON.
    sent = json.loads(text)
    stitched = _stitch(text.encode())
    assert [json.loads(step) for step in stitched.steps] == sent["trajectory_log"]
    assert json.loads(stitched.text(stitched.trajectory.metadata)) == sent["metadata"]
    for part in (*stitched.steps, stitched.text(stitched.trajectory.metadata)):
        assert part.decode() in text
    assert json.loads(stitched.line)["trajectory_log"] == sent["trajectory_log"]


def test_what_is_too_long_for_a_tools_name_is_no_tool_and_stays_in_its_step() -> None:
    """The list of tools is in memory while a session is stitched, and texts of any length may stand there."""
    longest = "x" * TOOL_CHARS_MAX
    stitched = _stitch(_chunk(0, _step(1, tool=longest), _step(2, tool=longest + "x")))
    assert stitched.trajectory.tools == (longest,)
    assert json.loads(stitched.steps[1])["tool"] == longest + "x"


class CountedLines(HeldLines):
    """Lines that count what is read of them."""

    whole_lines = 0
    parts = 0

    def text(self, index: int) -> bytes:
        """A line's JSON text."""
        self.whole_lines += 1
        return super().text(index)

    def part(self, index: int, start: int, end: int) -> bytes:
        """Some bytes of a line's text."""
        self.parts += 1
        return super().part(index, start, end)


def _written(lines: CountedLines) -> list[bytes]:
    trajectory = stitch("sess_1", lines, gaps=[], closed_by=ClosedBy.HTTP_CLOSE)
    assert trajectory is not None
    assert lines.whole_lines == len(lines.kinds), "each line is read once to be counted"
    points = score(trajectory.step_type_counts, trajectory.model, None, ScoringSettings())
    return list(TrajectoryText("traj_1", trajectory, points, enrich(), lines))


def test_steps_in_their_chunks_order_are_cut_out_of_one_reading_of_each_line() -> None:
    """However many steps a line holds."""
    chunks = [_chunk(n, *[_step(n * 50 + m) for m in range(50)]) for n in range(8)]
    lines = CountedLines([EnvelopeKind.CHUNK] * 8, chunks)
    found = json.loads(b"{" + b"".join(_written(lines)) + b"}")
    assert [step["step"] for step in found["trajectory_log"]] == list(range(400))
    assert (lines.whole_lines, lines.parts) == (8, 9)  # the steps of each chunk, and the metadata


def test_steps_that_alternate_between_chunks_are_read_one_by_one() -> None:
    """A line of megabytes is not read again for each of its steps."""
    chunks = [_chunk(n, *[_step(2 * m + n) for m in range(50)]) for n in range(2)]
    lines = CountedLines([EnvelopeKind.CHUNK] * 2, chunks)
    found = json.loads(b"{" + b"".join(_written(lines)) + b"}")
    assert [step["step"] for step in found["trajectory_log"]] == list(range(100))
    assert (lines.whole_lines, lines.parts) == (2, 101)


@pytest.mark.parametrize(("last_end", "reads"), [(1_200, 1), (1_201, 2)])
def test_steps_are_read_at_once_where_they_are_a_quarter_of_what_that_reads(last_end: int, reads: int) -> None:
    """Wherever in the line: 100 bytes of 400, or of 401."""
    chunk = _chunk(0, _step(0, content="x" * 1_500))
    lines = CountedLines([EnvelopeKind.CHUNK], [chunk])
    trajectory = stitch("sess_1", lines, gaps=[], closed_by=ClosedBy.HTTP_CLOSE)
    assert trajectory is not None
    spans = (Span(0, 800, 850), Span(0, last_end - 50, last_end))
    points = score(trajectory.step_type_counts, trajectory.model, None, ScoringSettings())
    written = TrajectoryText(
        "traj_1", msgspec.structs.replace(trajectory, steps=StepPlaces.of(spans)), points, enrich(), lines
    )
    lines.parts = 0
    assert b"".join(written.value("trajectory_log")) == b"[%b,%b]" % (chunk[800:850], chunk[last_end - 50 : last_end])
    assert lines.parts == reads


def test_the_line_is_written_in_pieces_of_bounded_length() -> None:
    """A step is never cut, so a piece is longer by one step at most."""
    chunks = [_chunk(n, *[_step(n * 100 + m, content="x" * 5_000) for m in range(100)]) for n in range(4)]
    pieces = _stitch(*chunks).pieces
    assert len(pieces) > 6
    assert max(map(len, pieces)) < PIECE_BYTES + 6_000


def test_a_trajectory_says_in_how_many_envelopes_an_object_has_a_name_twice() -> None:
    """In a step, in metadata, in an outcome, in feedback; nothing is said where there is none."""
    twice = b'"n":{"a":1,"a":2}'
    plain = _chunk(0, _step(1))
    in_a_step = _chunk(1, _step(2, n=0), _step(3, n=0)).replace(b'"n":0', twice)
    in_metadata = _chunk(2, _step(4)).replace(b'"agent_role":"backend"', twice)
    close = CLOSE.replace(b'"x":1e2', twice)
    feedback = b'{"session_id":"s","type":"USER_FEEDBACK","feedback":{"signal":"accepted",%s}}' % twice
    stitched = Stitched((plain, in_a_step, in_metadata), close=close, feedback=(feedback, feedback))
    assert stitched.trajectory.repeated_members == 5
    assert json.loads(b"{%s}" % b"".join(stitched.pieces))["repeated_members"] == 5
    none = Stitched((plain,), close=CLOSE)
    assert none.trajectory.repeated_members == 0
    assert b"repeated_members" not in b"".join(none.pieces)


@pytest.mark.parametrize(
    "twice",
    [
        b'"n":0,"n":0',
        b'"type":"thought","n":0',
        b'"n":0,"\\u006e":0',
        b'"\xc3\xa9":0,"\\u00e9":0',
        b'"n":[{"a":1,"a":1}]',
        b'"arguments":{"a":{"b":1,"\\u0062":1}}',
        b'"n": {"a":1,"a":2}',
        b'"n":{"\\ud83d":1,"\\ud83d":2}',
    ],
)
def test_a_name_that_stands_twice_in_a_step_is_found_however_it_is_written(twice: bytes) -> None:
    """In the step or within its members, in a log with nothing between its tokens or with something."""
    chunk = _chunk(0, _step(1), _step(2, n=0), _step(3)).replace(b'"n":0', twice)
    stitched = Stitched((chunk,))
    assert stitched.trajectory.repeated_members == 1
    assert len(stitched.trajectory.steps) == 3


@pytest.mark.parametrize(
    "once",
    [
        b'"n":0, "m" : [ ]',
        b'"n":{"a":{"a":[{"a":1},{"a":2}]}}',
        b'"n":"{\\"a\\":1,\\"a\\":1}"',
        b'"\\ud83d":1,"\\ud83e":1',
        b'"n":{"\\ud83d":1,"\\ud83e":1}',
        b'"n":1e400,"m":{"n":-%s}' % (b"9" * 400),
    ],
)
def test_what_only_looks_like_a_name_that_stands_twice_in_a_step_is_none(once: bytes) -> None:
    chunk = _chunk(0, _step(1), _step(2, n=0), _step(3)).replace(b'"n":0', once)
    assert Stitched((chunk,)).trajectory.repeated_members == 0

"""Stitching: order, totals, and every byte as the client sent it."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.trajectories.coordination import link_coordination
from actors.trajectories.enrichment import enrich
from actors.trajectories.scoring import score
from actors.trajectories.settings import ScoringSettings
from actors.trajectories.stitching import Trajectory, stitch, trajectory_members
from persistence.format.records import ClosedBy, SequenceGap

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


def _stitch(*chunks: bytes, **arguments: Any) -> Trajectory:
    defaults: dict[str, Any] = {"close": None, "feedback": [], "gaps": [], "closed_by": ClosedBy.HTTP_CLOSE}
    trajectory = stitch(session_id="sess_1", chunks=chunks, **{**defaults, **arguments})
    assert trajectory is not None
    return trajectory


def _line(trajectory: Trajectory) -> bytes:
    points = score(trajectory.step_type_counts, trajectory.model, trajectory.task_complexity, ScoringSettings())
    links = link_coordination(trajectory.steps)
    return b"{" + trajectory_members("traj_1", trajectory, points, links, enrich()) + b"}"


def test_a_session_without_chunks_is_no_trajectory() -> None:
    """There is nothing to stitch, whatever else it sent."""
    assert stitch(session_id="s", chunks=[], close=CLOSE, feedback=[], gaps=[], closed_by=ClosedBy.ABANDONED) is None


def test_chunks_and_steps_are_put_in_order() -> None:
    """By chunk sequence first, so that "first chunk" means the first of the session, then by step number."""
    late = _chunk(1, _step(3), _step(5), metadata={**METADATA, "provider": "gemini"}, contributor_id="f" * 32)
    trajectory = _stitch(late, _chunk(0, _step(4), _step(1)))
    assert [json.loads(step)["step"] for step in trajectory.steps] == [1, 3, 4, 5]
    assert (trajectory.provider, trajectory.contributor_id, trajectory.total_chunks) == ("codex", CONTRIBUTOR, 2)


def test_steps_of_the_same_number_are_all_kept_in_the_order_of_their_chunks() -> None:
    """Chunks of the same sequence, too: nothing tells which one would be the right one."""
    trajectory = _stitch(
        _chunk(1, _step(1, content="c")), _chunk(0, _step(1, content="a")), _chunk(0, _step(1, content="b"))
    )
    assert [json.loads(step)["content"] for step in trajectory.steps] == ["a", "b", "c"]
    assert trajectory.total_chunks == 3


def test_totals_come_from_the_steps() -> None:
    """Tokens are summed, tools unique and sorted, types counted; a tool that is no text is no tool."""
    trajectory = _stitch(
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
    assert trajectory.total_tokens == 12
    assert trajectory.tools == ("Bash", "Read")
    assert trajectory.step_type_counts == {"thought": 1, "action": 5, "observation": 1}
    assert (trajectory.model, trajectory.task_complexity) == ("gpt-5.5", "heavy")


def test_an_empty_chunk_counts_as_a_chunk() -> None:
    """A session of one empty chunk is a trajectory without steps."""
    trajectory = _stitch(_chunk(0, metadata={"provider": "codex", "model_engine": "o3"}))
    assert (trajectory.steps, trajectory.total_chunks, trajectory.task_complexity) == ((), 1, None)
    assert json.loads(_line(trajectory))["trajectory_log"] == []


def test_the_line_has_the_members_in_their_order() -> None:
    """All that the trajectories journal promises, with the client's own JSON as it was written."""
    feedback = b'{"session_id":"s","type":"USER_FEEDBACK","feedback":{"signal":"accepted","timestamp":1.0},"crc32":"0"}'
    trajectory = _stitch(
        _chunk(0, _step(1, "delegate", to="frontend-1", token_count=5), _step(2, "resolution", tool="Bash")),
        close=CLOSE,
        feedback=[feedback, feedback],
        gaps=[SequenceGap(before=5, missing=2)],
        closed_by=ClosedBy.SESSION_CLOSE,
    )
    line = _line(trajectory)
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


def test_without_a_close_of_the_client_there_is_no_outcome() -> None:
    """Null, as the contract's readers expect, and who closed it instead."""
    found = json.loads(_line(_stitch(_chunk(0, _step(1)), closed_by=ClosedBy.ABANDONED)))
    assert (found["outcome"], found["close_metadata"], found["closed_by"]) == (None, None, "abandoned")


def test_the_line_has_no_line_break() -> None:
    """Line breaks between tokens become spaces, those inside texts stay escaped."""
    spread = json.dumps(json.loads(_chunk(0, _step(1, content="a\nb"), _step(2))), indent=2).encode()
    line = _line(_stitch(spread.replace(b"\n", b"\r\n")))
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["trajectory_log"] == [_step(1, content="a\nb"), _step(2)]


def test_numbers_that_no_double_holds_do_not_hinder() -> None:
    """The schema passes over what it does not name, so stitching must, too."""
    text = _chunk(0, _step(1, tool="HUGE", arguments=["HUGE"]), _step(2, "delegate", to="HUGE"))
    line = _line(_stitch(text.replace(b'"HUGE"', b"1e400")))
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
    trajectory = _stitch(text.encode())
    assert [json.loads(step) for step in trajectory.steps] == sent["trajectory_log"]
    assert json.loads(trajectory.metadata) == sent["metadata"]
    for part in (*trajectory.steps, trajectory.metadata):
        assert part.decode() in text
    assert json.loads(_line(trajectory))["trajectory_log"] == sent["trajectory_log"]

"""A chunk's line is read alike in both ways, and in the fast one only where nothing can be lost."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.trajectories.chunk_lines import ChunkLine, _as_it_comes, _as_written, read_chunk
from persistence.format.step_runs import StepDigests

FRAME = ',"received":{"n":12,"at":"2026-11-20T10:12:17.123456Z","batch":10},"crc32":"9f3a01bc"'
STEP = '{"step":1,"type":"action","timestamp":1795168186,"tool":"Bash","arguments":{"b":1,"a":[2]},"content":"a\\nb"}'


def line(*steps: str, metadata: str = '{"provider":"codex","model_engine":"gpt-5.5"}', frame: str = FRAME) -> bytes:
    """A chunk as its journal's line holds it."""
    return (
        '{"envelope_id":"env_1","session_id":"sess_1","chunk_sequence":3,"contributor_id":"c0ffee",'
        f'"attestation":{{"session_hmac":"00","sequence":1}},"metadata":{metadata},"trajectory_log":['
        + ",".join(steps)
        + f"]{frame}}}"
    ).encode()


def told(chunk: ChunkLine, text: bytes) -> dict[str, Any]:
    """What stitching makes of it."""
    digests = StepDigests()
    digests.add(chunk.steps)
    steps = [text[start:end] for start, end in zip(chunk.starts, chunk.ends, strict=True)]
    return {
        "steps": steps,
        "types": [step.type for step in chunk.steps],
        "digests": [digests.digest(place) for place in range(len(digests))],
        "metadata": (chunk.metadata, text[chunk.metadata_start :][: len(chunk.metadata)]),
        **{name: getattr(chunk, name) for name in ("chunk_sequence", "contributor_id", "tokens", "tools")},
        **{name: list(getattr(chunk, name)) for name in ("numbers", "times")},
    }


TEXTS = st.text(st.sampled_from('ae\u0301é→ﬁ\n"\\ {}[],:🚀\u200b'), max_size=5)
SCALARS = st.none() | st.booleans() | st.sampled_from([0, -1, 10**20, 1.0, 1e300, 2.5e-7]) | TEXTS
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS, max_size=2), max_size=2)
)
STEPS = st.fixed_dictionaries(
    {"step": st.integers(1, 9), "type": st.sampled_from(["thought", "action", "yield"])},
    optional={
        "timestamp": st.none() | st.sampled_from([1795168186, 1795168186.25, 1795168186250]),
        "content": st.none() | TEXTS,
        "token_count": st.integers(0, 9),
        "tool": SCALARS,
        "arguments": VALUES,
        "call_id": SCALARS,
        "is_error": st.booleans(),
        "usage": VALUES,
        "unknown": VALUES,
    },
)


@given(st.lists(STEPS, max_size=3), st.sampled_from(["escaped", "raw"]), st.sampled_from([FRAME, ""]))
def test_both_ways_of_reading_say_the_same(steps: Sequence[dict[str, Any]], written: str, frame: str) -> None:
    texts = [json.dumps(step, separators=(",", ":"), ensure_ascii=written == "escaped") for step in steps]
    text = line(*texts, frame=frame)
    found = _as_written(text)
    if found is not None:
        assert told(found, text) == told(_as_it_comes(text), text)
    assert told(read_chunk(text), text)["steps"] == [each.encode() for each in texts]


@pytest.mark.parametrize(
    "steps", [(), (STEP,), (STEP, STEP.replace("1795168186", "1795168186.5").replace('"Bash"', "null"))]
)
@pytest.mark.parametrize("frame", [FRAME, ""])
def test_lines_as_clients_write_them_are_read_once(steps: Sequence[str], frame: str) -> None:
    """In the journal, and held in memory without its frame."""
    text = line(*steps, frame=frame)
    found = _as_written(text)
    assert found is not None
    assert told(found, text) == told(_as_it_comes(text), text)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ('"step":1', '"step": 1'),
        ('"step":1,', '"step":1,"step":1,'),
        ('"tool":"Bash"', '"tool":"Bash","tool":"Bash"'),
        ('"tool"', '"t\\u006fol"'),
        ('"type":"action"', '"type":"\\u0061ction"'),
        ('"tool":"Bash"', '"more":"Bash"'),
        ('"content":"a\\nb"', '"content":"\\ud83d"'),
        ('"tool":"Bash"', '"call_id":5'),
        ('"tool":"Bash"', '"token_count":-0'),
    ],
)
def test_what_may_have_been_lost_is_read_member_by_member(then: str, now: str) -> None:
    assert then in STEP
    text = line(STEP, STEP.replace(then, now))
    assert _as_written(text) is None
    assert told(read_chunk(text), text)["steps"] == [STEP.encode(), STEP.replace(then, now).encode()]


@pytest.mark.parametrize(
    "metadata", ['{"provider":"codex","model_engine":"m","a":{"trajectory_log":[]}}', '{"trajectory_log":[{}]}']
)
def test_a_log_within_the_metadata_is_not_the_log(metadata: str) -> None:
    text = line(STEP, metadata=metadata)
    assert told(read_chunk(text), text)["steps"] == [STEP.encode()]


def test_what_follows_the_log_is_read_as_well() -> None:
    text = line(STEP, frame=',"more":[{"a":1,"a":2}]')
    assert told(read_chunk(text), text)["steps"] == [STEP.encode()]
    assert b'[{"a":1,"a":2}]' in list(read_chunk(text).others)

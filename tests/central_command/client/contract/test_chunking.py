"""Chunks and parts: every step once, in order, within the contract's bounds."""

import json
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from central_command.client.contract import chunking
from central_command.client.contract.chunking import (
    CHUNK_BYTES_MAX,
    CHUNK_STEPS_MAX,
    Chunk,
    as_written,
    encode_json,
    encode_step,
    has_room,
    next_chunk,
)
from central_command.client.contract.steps import Step


def step_of(number: int, content: str = "x") -> Step:
    return Step(step=number, type="thought", timestamp=1.5, content=content, token_count=1)


def cut(steps: Sequence[Step]) -> list[list[Chunk]]:
    """All steps as the chunks of as many sessions as they need."""
    sessions: list[list[Chunk]] = [[]]
    sent = in_session = size = 0
    while sent < len(steps):
        chunk = next_chunk(steps[sent:], in_session + 1, lambda time_s: time_s + 1)
        if not has_room(len(sessions[-1]), size, chunk):
            sessions.append([])
            in_session = size = 0
            continue
        sessions[-1].append(chunk)
        sent, in_session, size = sent + chunk.steps, in_session + chunk.steps, size + len(chunk.trajectory_log)
    return sessions


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 100_000), max_size=40), st.integers(1, 300))
def test_all_steps_travel_once_in_order_within_the_bounds(sizes: list[int], small: int) -> None:
    """Any mixture of large and small steps, each moved in time."""
    steps = [step_of(n, "é" * size) for n, size in enumerate([*sizes, *([1] * small)], start=1)]
    (chunks,) = cut(steps)
    sent = [inner for chunk in chunks for inner in json.loads(chunk.trajectory_log)]
    assert [(one["step"], one["content"]) for one in sent] == [(step.step, step.content) for step in steps]
    assert {one["timestamp"] for one in sent} == {2.5}
    assert all(1 <= chunk.steps <= CHUNK_STEPS_MAX for chunk in chunks)
    assert all(len(chunk.trajectory_log) <= CHUNK_BYTES_MAX + 2 for chunk in chunks)
    assert all(chunk.steps == len(json.loads(chunk.trajectory_log)) for chunk in chunks)


@given(count=st.integers(1, 60), chunks_max=st.integers(1, 4), bytes_max=st.integers(1, 3_000))
def test_a_session_that_is_too_long_for_one_becomes_several(count: int, chunks_max: int, bytes_max: int) -> None:
    """Every step once and in order over all sessions, each numbered from 1 and within its bounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "CHUNK_STEPS_MAX", 3)
        patch.setattr(chunking, "SESSION_CHUNKS_MAX", chunks_max)
        patch.setattr(chunking, "SESSION_BYTES_MAX", bytes_max)
        sessions = cut([step_of(n, f"content {n}") for n in range(1, count + 1)])
    sent = [[inner for chunk in chunks for inner in json.loads(chunk.trajectory_log)] for chunks in sessions]
    assert [one["content"] for steps in sent for one in steps] == [f"content {n}" for n in range(1, count + 1)]
    for chunks, steps in zip(sessions, sent, strict=True):
        assert [one["step"] for one in steps] == list(range(1, len(steps) + 1))
        assert len(chunks) <= chunks_max
        assert len(chunks) == 1 or sum(len(chunk.trajectory_log) for chunk in chunks) <= bytes_max


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, "é日🚀"]}, '{"a":[1,"é日🚀"]}'),
        ("\ud83d alone", '"\\ud83d alone"'),
        ("\x00\t\x7f</script>\u2028", '"\\u0000\\t\x7f</script>\u2028"'),
        ("\\ud83d", '"\\\\ud83d"'),
    ],
)
def test_json_is_written_as_published_clients_write_it(value: object, text: str) -> None:
    """Compact, raw UTF-8, lone surrogates escaped."""
    assert encode_json(value) == text.encode()


def test_members_that_a_step_does_not_have_are_not_sent() -> None:
    """And whole seconds have no fraction, as JavaScript writes them."""
    whole: Callable[[float], Step] = lambda at: Step(step=1, type="thought", timestamp=at, content="", token_count=0)  # noqa: E731
    assert encode_step(whole(7.0)) == b'{"step":1,"type":"thought","timestamp":7,"content":"","token_count":0}'
    assert b'"timestamp":1795168186.272,' in encode_step(whole(1795168186.272))


@given(
    st.text(st.characters(codec=None), max_size=30),
    st.one_of(st.integers(0, 2_000_000_000).map(float), st.floats(1.0, 2e9).map(lambda value: round(value, 3))),
)
def test_a_step_without_arguments_is_written_as_any_other(text: str, at: float) -> None:
    """The shorter way to it gives the same bytes, lone surrogates included."""
    step = Step(step=1, type="observation", timestamp=at, content=text, tool=text, is_error=True, token_count=3)
    members: dict[str, object] = msgspec.to_builtins(step)
    assert encode_step(step) == encode_json(members | {"timestamp": as_written(at)})

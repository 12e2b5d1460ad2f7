"""What a program tells of its agent beside steps, as the server takes and counts it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from actors.envelopes.reading import Envelope, read_envelope
from actors.envelopes.schema import ChunkFacts, check
from actors.envelopes.settings import SchemaSettings
from central_command.client.contract.identity import Identity
from central_command.client.contract.steps import Step
from central_command.client.recording.recorder import Surroundings, TrioRecorder, open_recorder
from central_command.live_sessions.counting import Counts
from tests.central_command.client.inline import inline

INGEST = "/v1/training/ingest"


@asynccontextmanager
async def recorder(server: Any, identity: Identity, folder: Path) -> AsyncIterator[TrioRecorder]:
    surroundings = Surroundings(identity=identity, client=server.client(), offload=inline, jitter=lambda: 0.5)
    async with open_recorder(
        "http://server.test", provider="codex", model="a", spool_path=folder / "spool.db", surroundings=surroundings
    ) as opened:
        yield opened


def steps_of(server: Any) -> list[dict[str, Any]]:
    return [step for chunk in server.envelopes if "trajectory_log" in chunk for step in chunk["trajectory_log"]]


async def test_switches_and_usage_are_steps_that_the_server_takes_and_counts(
    fake_server: Any, identity: Identity, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with recorder(fake_server, identity, tmp_path) as opened:
        session = opened.session()
        session.record({"type": "instruction", "content": "go"})
        session.record({"type": "thought", "content": "first"})
        session.usage(input=100, output=20, cache_read=60, cache_write=5)
        session.switch_model("b")
        session.record(Step(step=1, type="thought", timestamp=time.time(), content="second", token_count=2))
        session.record({"type": "observation"})
        session.usage(output=7)
        session.switch_agent("reviewer", model="c")
        session.record({"type": "thought", "content": "third", "model": "mine"})
    steps = steps_of(fake_server)
    told = [{name: step[name] for name in ("model", "agent", "usage") if name in step} for step in steps]
    usage = {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 60, "cache_write_tokens": 5}
    assert told == [
        {},
        {},
        {"usage": usage},
        {"model": "b"},
        {"model": "b"},
        {},
        {"model": "b", "usage": {"output_tokens": 7}},
        {"model": "c", "agent": "reviewer"},
        {"model": "mine", "agent": "reviewer"},
    ]
    counts = Counts()
    for chunk in (each for each in fake_server.envelopes if "trajectory_log" in each):
        envelope = read_envelope(json.dumps(chunk).encode(), nesting_max=64)
        assert isinstance(envelope, Envelope)
        at = steps[0]["timestamp"]
        assert isinstance(check(envelope, SchemaSettings(), at), ChunkFacts)
        counts.take(json.dumps(chunk).encode())
    assert counts.tokens == {**usage, "output_tokens": 27}
    assert (counts.model_switches, counts.model, counts.agent) == (3, "mine", "reviewer")


@pytest.mark.parametrize("name", ["", "x" * 300, "a\nb", 7, None])
async def test_what_is_no_name_and_no_count_is_a_bad_step(
    name: Any, fake_server: Any, identity: Identity, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nothing raises, and nothing of it is recorded."""
    async with recorder(fake_server, identity, tmp_path) as opened:
        session = opened.session()
        session.record({"type": "thought", "content": "a"})
        session.switch_model(name)
        session.switch_agent(name)
        session.usage()
        for count in (-1, 2**53, True, 1.5, "3"):
            session.usage(input=count)  # type: ignore[arg-type]
        bad = opened.statistics().steps_bad
    assert bad == 8
    assert [step["content"] for step in steps_of(fake_server)] == ["a"]

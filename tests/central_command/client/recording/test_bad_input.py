"""What a program says wrongly to a recorder: counted, said once, and nothing else is lost."""

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from central_command.client.spool.spool import Spool
from tests.central_command.client.recording.recorded import OPEN, Opener, thought


async def test_what_is_bad_is_counted_and_said_once(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a program hands over, nothing is raised, and the good steps arrive, lone surrogates included."""
    cyclic: dict[str, Any] = thought()
    cyclic["arguments"] = cyclic
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    bad: list[Any] = [
        *(None, 7, "text", [], object(), cyclic, {}, {"type": "no such"}, thought(b"\xff\xfe", extra=object())),
        *(thought(content=7), thought(timestamp="now"), thought(timestamp=1.0), thought(truncated=1)),
        thought(extra=deep),
    ]
    async with opener() as recorder:
        with recorder.session() as session:
            with caplog.at_level(logging.WARNING):
                for step in bad:
                    session.record(step)
                session.record(thought("half \ud83d", token_count=-5))
                session.record({"type": "action", "arguments": {"x": deep}, "step": 99, "tool": "Bash"})
                session.record(thought("x" * 200_000))
                session.feedback("great")
            session.close()
        await recorder.wait_delivered()
        assert recorder.statistics().steps_bad == len(bad) + 1
    lone, action, long = fake_server.envelopes[0]["trajectory_log"]
    assert (lone["content"], lone["token_count"]) == ("half \ud83d", 0)
    assert (action["step"], list(action["arguments"]), action["truncated"]) == (2, ["json"], True)
    assert (len(long["content"]), long["truncated"], long["original_token_count"]) == (100_000, True, 50_000)
    assert len([record for record in caplog.records if "left out" in record.message]) == 1


@pytest.mark.parametrize(
    ("status", "sent", "bad"),
    [
        ("SUCCESS", "SUCCESS", 0),
        ("success", "SUCCESS", 0),
        ("Killed", "KILLED", 0),
        ("DONE", "SHUTDOWN", 1),
        ("", "SHUTDOWN", 1),
        (None, "SHUTDOWN", 1),
        (5, "SHUTDOWN", 1),
        ([], "SHUTDOWN", 1),
    ],
)
async def test_a_status_that_is_none_is_said_and_claims_nothing(
    opener: Opener,
    fake_server: Any,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    status: Any,
    sent: str,
    bad: int,
) -> None:
    """It makes no crash of a success."""
    async with opener() as recorder:
        session = recorder.session()
        session.record(thought())
        session.close(status)
        await recorder.wait_delivered()
        assert recorder.statistics().steps_bad == bad
    assert fake_server.envelopes[-1]["outcome"]["status"] == sent
    assert caplog.text.count("the status was left out of sess_") == bad


@pytest.mark.parametrize(
    ("outcome", "sent", "says"),
    [
        ({"files_modified": "three", "foo": 5}, {"foo": 5}, "files_modified of the outcome must be an integer from 0"),
        ({"files_modified": 3, "quality_tier": "gold"}, {"files_modified": 3}, "quality_tier of the outcome must be"),
        ({"session_quality": float("nan")}, {}, "session_quality of the outcome cannot be written as JSON"),
        ({5: "x", "note": "y"}, {"note": "y"}, "a member of the outcome cannot be written as JSON"),
        ({"secret": object()}, {}, "a member of the outcome cannot be written as JSON"),
        ({"log": "x" * 1_000_001, "note": "y"}, {"note": "y"}, "a member of the outcome is too large"),
        ({"files_modified": None, "training_eligible": True}, {"training_eligible": True}, None),
        ({"quality_tier_reason": "half \ud83d"}, {"quality_tier_reason": "half \ud83d"}, None),
        ([1], {}, "the outcome is no mapping"),
        (5, {}, "the outcome is no mapping"),
    ],
)
async def test_what_is_wrong_of_an_outcome_is_left_out_and_said(
    opener: Opener,
    fake_server: Any,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    outcome: Any,
    sent: dict[str, Any],
    says: str | None,
) -> None:
    """And costs neither the rest of it nor the session's close; what it holds is in no log."""
    async with opener() as recorder:
        session = recorder.session()
        session.record(thought())
        session.close("KILLED", outcome=outcome)
        await recorder.wait_delivered()
        assert recorder.statistics().steps_bad == (says is not None)
    found = fake_server.envelopes[-1]["outcome"]
    assert found["status"] == "KILLED"
    assert {name: value for name, value in found.items() if name in {*sent, "files_modified"} and value} == sent
    assert (says or "") in caplog.text
    assert "a step was left out" not in caplog.text
    assert "three" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        *(
            ({name: None}, f"{name} is None; it must be 1 to")
            for name in ("provider", "model", "agent_role", "agent_id")
        ),
        ({"model": b"o3"}, "model is b'o3'; it must be 1 to 100 printable characters."),
        ({"agent_role": 5}, "agent_role is 5; it must be 1 to 50 printable characters."),
        ({"contributor_id": 5}, "contributor_id is 5; it must be a text of 32 hexadecimal digits."),
        ({"spool_path": 5}, "spool_path is 5; it must be a path."),
        ({"settings": 5}, "settings is 5; it must be RecorderSettings."),
        ({"scrub": "yes"}, "scrub is 'yes'; it must be True, False or a function."),
        ({"provider": "x" * 101}, "provider"),
        ({"provider": "my\nagent"}, "provider"),
        ({"provider": ""}, "provider"),
        ({"model": ""}, "model"),
        ({"agent_role": "x" * 51}, "agent_role"),
    ],
)
async def test_an_agent_that_the_server_would_refuse_is_refused_at_once(
    opener: Opener, autojump_clock: MockClock, arguments: dict[str, str], says: str
) -> None:
    """With a sentence that names it."""
    with pytest.raises(ValueError, match=says):
        async with opener(**arguments):
            pass


async def test_an_agent_that_the_server_does_not_take_is_said_and_waits_until_it_does(
    opener: Opener, fake_server: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Which names it takes is the server's setting: an own agent's is as good as any."""
    takes = {"codex"}

    async def opens(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == OPEN and json.loads(request.content)["provider"] not in takes:
            return httpx.Response(400, json={"error": "provider must be one of codex."})
        return None

    fake_server.faults.extend([opens] * 10)
    async with opener(provider="my-agent") as recorder:
        with recorder.session() as session:
            session.record(thought())
        await trio.sleep(100)
        assert recorder.statistics().problem == "The session was not opened: provider must be one of codex."
    assert "waits for the next start: The session was not opened: provider must be one of codex." in caplog.text
    assert (len(fake_server.requests), recorder.is_delivered) == (1, False)
    with Spool(tmp_path / "spool.db") as spool:
        (session,) = spool.unfinished("http://server.test")
    assert session.problem == "The session was not opened: provider must be one of codex."
    takes.add("my-agent")
    async with opener() as recorder:
        pass
    assert recorder.is_delivered
    with Spool(tmp_path / "spool.db") as spool:
        assert spool.session(session.session_id).problem is None
    assert {each["metadata"]["provider"] for each in fake_server.envelopes} == {"my-agent"}

"""Watching a folder: steps go out as they settle, sessions close when it is quiet, and a restart loses nothing."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from click.testing import CliRunner
from trio.testing import MockClock

from central_command.client.spool.records import SpoolError
from central_command.client.spool.spool import Spool
from central_command.client.uploading import watch
from central_command.client.uploading.heartbeat import Heartbeat, Pulse
from central_command.client.uploading.watch import watch_command
from tests.central_command.client.uploading.watched import TIMES, Folder


async def test_steps_go_out_as_they_settle_and_the_session_closes_when_it_is_quiet(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """One session, its steps in order and once; nothing is sent for steps that may still change."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            for count in range(1, len(lines) + 1):
                folder.write("one.jsonl", lines[:count])
                await watcher.poll()
                await trio.sleep(120)
            assert folder.steps()
            assert "SESSION_CLOSE" not in folder.kinds()
            await trio.sleep(1_800)
            await watcher.poll()
    steps = folder.steps()
    assert [step["step"] for step in steps] == list(range(1, 19))
    assert len({each["session_id"] for each in folder.server.envelopes}) == 1
    assert folder.kinds()[-2:] == ["CHUNK", "SESSION_CLOSE"]
    assert folder.kinds().count("CHUNK") > 1
    for step in steps:
        if step["type"] == "action":
            assert sum(1 for each in steps if each.get("call_id") == step["call_id"]) == 2
    assert "closed: 12.5 points" in folder.said[-1]


async def test_few_steps_wait_for_a_chunk(folder: Folder, lines: list[bytes], autojump_clock: MockClock) -> None:
    """Until the first of them has waited for chunk_s; a file that does not change is not closed before it is quiet."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines)
            await watcher.poll()
            assert folder.server.requests == []
            await trio.sleep(299)
            await watcher.poll()
            assert folder.server.requests == []
            await trio.sleep(2)
            await watcher.poll()
            assert folder.kinds() == ["CHUNK"]
            await trio.sleep(1_000)
            await watcher.poll()
            assert folder.kinds() == ["CHUNK"]


async def test_a_pulse_says_what_is_followed_and_what_waits(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Steps that wait and when they go; nothing waits once they went, and a session that closed is not followed."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            assert watcher.pulse() == Pulse(0, 0, None)
            folder.write("one.jsonl", lines)
            await watcher.poll()
            waiting = watcher.pulse()
            assert (waiting.files, waiting.next_chunk_at) == (1, trio.current_time() + TIMES.chunk_s)
            await trio.sleep(301)
            await watcher.poll()
            assert len(folder.steps()) == waiting.steps_waiting > 0
            assert watcher.pulse() == Pulse(1, 0, None, steps_open=18 - waiting.steps_waiting)
            await trio.sleep(1_800)
            await watcher.poll()
            assert watcher.pulse() == Pulse(0, 0, None)


async def test_steps_that_may_still_change_are_told_as_waiting(
    folder: Folder, transcripts: Path, autojump_clock: MockClock
) -> None:
    """Of every agent's file: what is not sent and not in a chunk to come is told, until the file is quiet."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            stream = (transcripts / "qwen_code" / "stream.jsonl").read_bytes().splitlines(keepends=True)
            folder.write("without-times.jsonl", stream)
            await watcher.poll()
            assert watcher.pulse() == Pulse(1, 0, None, steps_open=6)
            assert watcher.pulse().text(0) == (
                "following 1 file(s), 6 step(s) wait until their file goes on or is quiet, as they may still change"
            )
            await trio.sleep(1_800)
            await watcher.poll()
            assert len(folder.steps()) == 6
            assert watcher.pulse() == Pulse(0, 0, None)


async def test_a_session_that_begins_with_a_slash_command_goes_out_while_it_grows(
    folder: Folder, transcripts: Path, autojump_clock: MockClock
) -> None:
    """As one does that begins with the user's words."""
    lines = (transcripts / "subagent.jsonl").read_bytes().splitlines(keepends=True)
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            for count in range(10, len(lines), 10):
                folder.write("one.jsonl", lines[:count])
                await watcher.poll()
                await trio.sleep(301)
            await watcher.poll()
    assert folder.kinds().count("CHUNK") >= 4
    assert [step["step"] for step in folder.steps()] == list(range(1, len(folder.steps()) + 1))
    assert len(folder.steps()) >= 40


async def test_a_log_hears_of_a_changed_pulse_now_and_then(autojump_clock: MockClock) -> None:
    """The first at once, then not within ten minutes, and nothing where nothing has changed."""
    said: list[str] = []
    with Heartbeat(None, say=said.append) as heartbeat:
        for files, waits in ((0, None), (2, 100.0), (2, None)):
            heartbeat.beat(Pulse(files, 0 if waits is None else 7, waits))
            await trio.sleep(601 if waits else 10)
        await trio.sleep(600)
        heartbeat.beat(Pulse(2, 7, trio.current_time() + 61))
    assert said == [
        "following 0 file(s): no session in the folders has changed lately",
        "following 2 file(s), nothing waits to be sent",
        "following 2 file(s), 7 step(s) wait, next chunk in 1:01",
    ]


async def test_two_hundred_settled_steps_do_not_wait(
    folder: Folder, transcripts: Path, autojump_clock: MockClock
) -> None:
    """A full chunk goes at once."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("long.jsonl", (transcripts / "long.jsonl").read_bytes().splitlines(keepends=True)[:1_500])
            await watcher.poll()
    assert len(folder.steps()) >= 200


async def test_a_restart_goes_on_in_the_same_session(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Also when the file was quiet before the second start: it is sent to its end and closed."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines[: len(lines) // 2])
            await watcher.poll()
            await trio.sleep(400)
            await watcher.poll()
        assert 0 < len(folder.steps()) < 18
        folder.write("one.jsonl", lines)
        await trio.sleep(5_000)
        with folder.watcher(client) as watcher:
            await watcher.poll()
    assert [step["step"] for step in folder.steps()] == list(range(1, 19))
    assert len({each["session_id"] for each in folder.server.envelopes}) == 1
    assert "SESSION_CLOSE" in folder.kinds()


async def test_a_session_that_grows_after_its_close_goes_on_in_a_further_one(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """It says which one it continues, and sends only what is new."""
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines[: len(lines) // 2])
            await watcher.poll()
            await trio.sleep(1_801)
            await watcher.poll()
            first = folder.server.envelopes[0]["session_id"]
            assert folder.kinds().count("SESSION_CLOSE") == 1
            folder.write("one.jsonl", lines)
            await watcher.poll()
            await trio.sleep(1_801)
            await watcher.poll()
    assert folder.kinds().count("SESSION_CLOSE") == 2
    assert len(folder.steps()) == 18
    assert any(f"goes on from {first}" in text for text in folder.said)


async def test_a_terminal_is_told_short_ids(folder: Folder, lines: list[bytes], autojump_clock: MockClock) -> None:
    """As `mine` shows them, and `show` takes them; of the session that is continued, too."""
    async with folder.server.client() as client:
        with folder.watcher(client, shortens_ids=True) as watcher:
            for part in (lines[: len(lines) // 2], lines):
                folder.write("one.jsonl", part)
                await watcher.poll()
                await trio.sleep(1_801)
                await watcher.poll()
    first, second = dict.fromkeys(each["session_id"] for each in folder.server.envelopes)
    *_, begun, gone_on = folder.said
    assert f"step(s) in {first[:13]}," in begun
    assert f"step(s) in {second[:13]}, which goes on from {first[:13]}," in gone_on


async def test_files_that_were_quiet_before_are_left_alone(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Until they change; and what is no session is passed over in silence."""
    async with folder.server.client() as client:
        folder.write("old.jsonl", lines[: len(lines) // 2])
        folder.write("package.json", [b'{"name": "x"}'])
        await trio.sleep(2_000)
        with folder.watcher(client) as watcher:
            await watcher.poll()
            assert folder.server.requests == []
            folder.write("old.jsonl", lines)
            await watcher.poll()
            await trio.sleep(301)
            await watcher.poll()
    assert folder.steps()
    assert not any("package" in text for text in folder.said)


async def test_a_file_that_is_gone_has_its_session_closed(
    folder: Folder, transcripts: Path, autojump_clock: MockClock
) -> None:
    """While it is watched, or before the next start."""
    async with folder.server.client() as client:
        for name, is_restarted in (("tool_heavy.jsonl", False), ("long.jsonl", True)):
            with folder.watcher(client) as watcher:
                folder.write(name, (transcripts / name).read_bytes().splitlines(keepends=True))
                await watcher.poll()
                await trio.sleep(301)
                await watcher.poll()
                (folder.path / name).unlink()
                if not is_restarted:
                    await watcher.poll()
            if is_restarted:
                with folder.watcher(client) as watcher:
                    await watcher.poll()
    closed = [json.loads(body)["session_id"] for body in folder.server.bodies("/v1/sessions/close")]
    assert len(set(closed)) == 2


async def test_a_server_that_is_away_is_tried_again_at_the_next_look(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """It is said once, and nothing is lost."""

    async def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines)
            await watcher.poll()
            await trio.sleep(301)
            folder.server.faults.extend([away] * 6)
            for _ in range(3):
                await watcher.poll()
            assert folder.steps() == []
            assert sum("not delivered" in text for text in folder.said) == 1
            await watcher.poll()
    assert folder.steps()


@pytest.mark.parametrize("why", ["away", "banned", "full"])
async def test_a_file_that_could_not_be_sent_until_it_was_quiet_is_not_left_to_upload(
    folder: Folder, transcripts: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Its first chunk was due at once, and the server, or the disk, was out of order from the first look on."""

    async def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    def is_full(*_arguments: Any, **_named: Any) -> Any:
        raise SpoolError("The spool cannot be used: database or disk is full.")

    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("long.jsonl", (transcripts / "long.jsonl").read_bytes().splitlines(keepends=True))
            with monkeypatch.context() as broken:
                if why == "full":
                    broken.setattr(Spool, "add_session", is_full)
                if why == "banned":
                    folder.server.opening_refusal = {"error": "You are banned."}
                folder.server.faults.extend([away] * (20 if why == "away" else 0))
                for _ in range(4):
                    await watcher.poll()
                    await trio.sleep(600)
            assert folder.steps() == []
            folder.server.faults.clear()
            folder.server.opening_refusal = {}
            await watcher.poll()
    assert [step["step"] for step in folder.steps()] == list(range(1, 484))


async def test_a_refusal_is_said_once_and_the_file_is_given_up(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """No request is repeated for it, however often one looks."""
    folder.server.refuse = lambda _envelope: "The model is unknown."
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines)
            await watcher.poll()
            for _ in range(10):
                await trio.sleep(301)
                await watcher.poll()
    assert len(folder.server.bodies("/v1/training/ingest")) == 1
    assert sum("was refused: The model is unknown." in text for text in folder.said) == 1


async def test_cancelled_while_it_sends_it_goes_on_later(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """`run` looks again and again until it is cancelled; the next one sends each step once."""
    started = trio.Event()

    async def hang(_request: httpx.Request) -> httpx.Response:
        started.set()
        await trio.sleep_forever()

    folder.write("one.jsonl", lines)
    async with folder.server.client() as client:

        async def passes(_request: httpx.Request) -> None:
            return None

        folder.server.faults.extend([passes, hang])
        with folder.watcher(client) as watcher:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watcher.run)
                await started.wait()
                nursery.cancel_scope.cancel()
        closed = trio.Event()
        folder.on_close = closed.set
        with folder.watcher(client) as watcher:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watcher.run)
                await closed.wait()
                nursery.cancel_scope.cancel()
    assert [step["step"] for step in folder.steps()] == list(range(1, 19))
    assert len({each["session_id"] for each in folder.server.envelopes}) == 1
    assert folder.kinds()[-1] == "SESSION_CLOSE"


def test_a_certificate_that_is_not_trusted_ends_it_at_once(
    fake_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is followed, with what would have it taken: no waiting would."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    fake_server.faults.append(refuse)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(watch, "client_for", lambda _options: fake_server.client())
    result = CliRunner().invoke(watch_command, [str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the server's certificate is not trusted; if http://server.test is right, --ca FILE names the "
        "certificate to trust, and --insecure takes any.\n"
    )
    assert [path for path, _ in fake_server.requests] == ["/health"]


def test_help_says_what_it_is_for() -> None:
    """With its options, and a folder that is not there is refused in a sentence."""
    output = CliRunner().invoke(watch_command, ["--help"]).output
    assert "taken as your agreement to its terms" in " ".join(output.split())
    for option in ("--quiet-s", "--interval-s", "--chunk-s", "--url", "Ctrl-C"):
        assert option in output
    assert "does not exist" in CliRunner().invoke(watch_command, ["nowhere"]).output


async def test_who_is_credited_and_what_sending_is_taken_for_is_said_before_anything_goes(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Not while nothing is to be sent, and once."""
    folder.server.consent = "none"
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            await watcher.poll()
            assert (folder.said, folder.server.consent_asked) == ([], 0)
            for name, some in (("one.jsonl", lines), ("two.jsonl", lines[:4])):
                folder.write(name, some)
                await watcher.poll()
                await trio.sleep(1_800)
                await watcher.poll()
    credited, agreement, sent, *_ = folder.said
    assert credited == "Credited to 01234567… (central-command whoami)."
    assert "is taken as your agreement to its terms" in agreement
    assert sent.startswith("one.jsonl: ")
    assert sum("agreement" in each for each in folder.said) == 1


async def test_that_what_is_sent_waits_for_consent_is_said_when_it_begins_to(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Terms may change while it runs: it is said once each time, and nothing is asked while nothing is sent."""
    folder.server.consent = "given"
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            counts = []
            states = ("given", "outdated", "outdated", "given", "outdated")
            for state, count in zip(states, (5, 12, 27, 28, 34), strict=True):  # each with steps that have settled
                folder.server.consent = state
                folder.write("one.jsonl", lines[:count])
                sent = len(folder.steps())
                await watcher.poll()
                await trio.sleep(301)
                await watcher.poll()
                assert len(folder.steps()) > sent
                counts.append(sum("is held there, and not used" in text for text in folder.said))
            asked = folder.server.consent_asked
            await watcher.poll()
    assert counts == [0, 1, 1, 1, 2]
    assert folder.server.consent_asked == asked > 0


async def test_of_who_was_erased_no_consent_is_asked_for(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    folder.server.consent, folder.server.refusal_code = "withdrawn", "consent_withdrawn"
    folder.server.refuse = lambda _envelope: "Withdrawn."
    async with folder.server.client() as client:
        with folder.watcher(client) as watcher:
            for is_erased in (False, True):
                folder.server.is_erased = is_erased
                folder.write("one.jsonl", lines)
                await watcher.poll()
                await trio.sleep(1_800)
                await watcher.poll()
    assert "the contributor has withdrawn" in folder.said[-2]
    assert "the contributor was erased" in folder.said[-1]


async def test_what_was_refused_without_consent_goes_on_once_it_is_given_again(
    folder: Folder, lines: list[bytes], autojump_clock: MockClock
) -> None:
    """Without a start anew: the file's next look asks, and sends what was refused."""
    server = folder.server
    server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
    server.refuse = lambda _envelope: "The contributor has withdrawn their consent."
    async with server.client() as client:
        with folder.watcher(client) as watcher:
            folder.write("one.jsonl", lines[:-1])
            await watcher.poll()
            await trio.sleep(300)
            await watcher.poll()
            assert any("withdrawn" in text for text in folder.said)
            server.consent, server.refuse = "given", lambda _envelope: None
            server.envelopes.clear()
            folder.write("one.jsonl", lines)
            await trio.sleep(300)
            await watcher.poll()
            await trio.sleep(1_800)
            await watcher.poll()
    assert [step["step"] for step in folder.steps()] == list(range(1, 19))

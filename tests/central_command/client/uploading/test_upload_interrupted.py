"""An upload that is stopped anywhere and run again: the server holds each session once, with every step in order."""

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from central_command.client.contract.identity import Identity
from central_command.client.delivering.posting import RetryPolicy
from central_command.client.spool.spool import Spool
from central_command.client.uploading.feeding import Surroundings, Threads
from central_command.client.uploading.history import History
from central_command.client.uploading.options import Options
from central_command.client.uploading.sources import Found
from central_command.client.uploading.upload import Uploader
from tests.central_command.client.inline import inline

URL = "http://server.test"


class _CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when its tasks have been run for the `count`-th time."""

    def __init__(self, scope: trio.CancelScope, count: int) -> None:
        self._scope = scope
        self.left = count

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self._scope.cancel()


class Client:
    """One user's spool, files and server; each `run` is a process of its own as far as the code can tell."""

    def __init__(self, server: Any, identity: Identity, folder: Path) -> None:
        self.server = server
        self.identity = identity
        self.folder = folder
        self.options = Options(url=URL, at_once=2)
        self.policy = RetryPolicy(attempts_max=2)

    async def run(self, files: list[Path], *, cancel_at: int | None = None) -> Uploader | None:
        """Upload; None when the `cancel_at`-th step of a task cancelled it."""
        finished: Uploader | None = None
        with (
            Spool(self.folder / "spool.db") as spool,
            closing(History(spool, self.folder / "uploads.lock", url=URL)) as history,
            trio.CancelScope() as scope,
        ):
            instrument = _CancelAtStep(scope, cancel_at or -1)
            trio.lowlevel.add_instrument(instrument)
            try:
                async with self.server.client() as client:
                    uploader = Uploader(
                        client,
                        history,
                        self.identity,
                        self.options,
                        console=Console(quiet=True),
                        surroundings=Surroundings(
                            policy=self.policy, jitter=lambda: 0.5, threads=Threads(inline, inline)
                        ),
                    )
                    await uploader.upload([Found(path, named=True) for path in files])
                    finished = uploader
            finally:
                trio.lowlevel.remove_instrument(instrument)
        return finished


@pytest.fixture
def client(fake_server: Any, identity: Identity, tmp_path: Path) -> Client:
    """A client with an empty spool."""
    return Client(fake_server, identity, tmp_path)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks even for a short session."""
    monkeypatch.setattr("central_command.client.contract.chunking.CHUNK_STEPS_MAX", 3)


@pytest.fixture
def slow_answers(fake_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server in memory takes a moment before it handles a request, and one after: both can be cancelled."""
    handle = fake_server._handle

    async def handle_slowly(request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        response = await handle(request)
        await trio.lowlevel.checkpoint()
        return response  # type: ignore[no-any-return]

    monkeypatch.setattr(fake_server, "_handle", handle_slowly)


def raw_calls(path: Path) -> list[str]:
    """The ids of all tool calls in a Claude Code file, in order, read with nothing of the client's own code."""
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    blocks = [
        block
        for event in events
        if event["type"] == "assistant" and isinstance(event["message"]["content"], list)
        for block in event["message"]["content"]
    ]
    return [block["id"] for block in blocks if block["type"] == "tool_use"]


def check_held_once(server: Any, files: list[Path]) -> None:
    """One session a file, closed once, and every call in it once and in order, with its result after it."""
    sessions: dict[str, list[dict[str, Any]]] = {}
    for envelope in server.envelopes:
        sessions.setdefault(envelope["session_id"], []).append(envelope)
    assert len(sessions) == len(files)
    held = []
    for envelopes in sessions.values():
        assert Counter(each.get("type", "CHUNK") for each in envelopes)["SESSION_CLOSE"] == 1
        assert [each["chunk_sequence"] for each in envelopes if "chunk_sequence" in each] == list(
            range(sum("chunk_sequence" in each for each in envelopes))
        )
        steps = [step for each in envelopes for step in each.get("trajectory_log", ())]
        assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
        assert next(each for each in envelopes if each.get("type"))["outcome"]["total_steps"] == len(steps)
        calls = [step["call_id"] for step in steps if step["type"] == "action"]
        for call_id in calls:
            numbers = [step["step"] for step in steps if step.get("call_id") == call_id]
            assert len(numbers) == 2
        held.append(calls)
    assert sorted(held) == sorted(map(raw_calls, files))


async def test_cancelled_at_every_step_and_run_again_the_server_holds_each_session_once(
    fake_server: Any, identity: Identity, transcripts: Path, tmp_path: Path, small_chunks: None, slow_answers: None
) -> None:
    """Each step of a task is one point where Ctrl-C can strike; the second run finishes what the first began."""
    files = [transcripts / "short.jsonl", transcripts / "tool_heavy.jsonl"]
    for point in range(1, 1_000):
        fake_server.envelopes.clear()
        folder = tmp_path / str(point)
        folder.mkdir()
        client = Client(fake_server, identity, folder)
        finished = await client.run(files, cancel_at=point)
        again = await client.run(files)
        assert again is not None
        assert again.failed == 0
        check_held_once(fake_server, files)
        if finished is not None:
            break
    assert 30 < point < 999


async def test_cancelled_again_and_again_it_still_ends(
    client: Client, transcripts: Path, small_chunks: None, slow_answers: None
) -> None:
    """Each run takes only a few steps; what was accepted is never sent as something new."""
    files = [transcripts / "tool_heavy.jsonl"]
    runs = 1
    while await client.run(files, cancel_at=25 + runs % 7) is None:
        runs += 1
        assert runs < 200, "it makes no progress"
    assert runs > 2
    check_held_once(client.server, files)


async def test_lost_answers_to_every_request_do_no_harm(
    client: Client, transcripts: Path, small_chunks: None, one_by_one: None, autojump_clock: MockClock
) -> None:
    """The server has handled each request when the connection breaks; the same bytes come again."""
    lost: set[bytes] = set()

    async def lose(request: httpx.Request) -> httpx.Response | None:
        if request.content in lost:
            return None
        lost.add(request.content)
        if request.url.path != "/v1/sessions/open":  # this server makes a new key for each opening
            client.server.answer(request)
        raise httpx.ReadError("the connection is gone", request=request)

    client.server.faults.extend([lose] * 200)
    files = [transcripts / "tool_heavy.jsonl", transcripts / "short.jsonl"]
    uploader = await client.run(files)
    assert uploader is not None
    assert uploader.failed == 0
    check_held_once(client.server, files)


async def test_lost_answers_to_batches_do_no_harm_either(
    client: Client, transcripts: Path, small_chunks: None, autojump_clock: MockClock
) -> None:
    """A batch that was handled and not answered is followed by one envelope alone, then by a smaller batch."""
    lost = 0

    async def lose(request: httpx.Request) -> httpx.Response | None:
        nonlocal lost
        if not request.url.path.endswith("/batch"):
            return None
        lost += 1
        client.server.answer(request)
        raise httpx.ReadError("the connection is gone", request=request)

    client.policy = RetryPolicy(attempts_max=6)
    client.server.faults.extend([lose] * 200)
    files = [transcripts / "tool_heavy.jsonl", transcripts / "short.jsonl"]
    uploader = await client.run(files)
    assert uploader is not None
    assert uploader.failed == 0
    assert lost >= 2
    check_held_once(client.server, files)


async def test_a_session_that_the_server_closed_meanwhile_goes_on_in_a_further_one(
    client: Client, transcripts: Path, small_chunks: None, one_by_one: None
) -> None:
    """Only with the steps that the first did not take, and it says which one it continues."""

    async def passes(_request: httpx.Request) -> None:
        return None

    async def closed(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"accepted": False, "reason": "It is closed.", "code": "session_closed"})

    client.server.faults.extend([passes, passes, closed])
    uploader = await client.run([transcripts / "tool_heavy.jsonl"])
    assert uploader is not None
    assert uploader.failed == 0
    steps = [step for each in client.server.envelopes for step in each.get("trajectory_log", ())]
    assert len(steps) == 18
    first = client.server.envelopes[0]["session_id"]
    assert client.server.envelopes[1]["metadata"]["continues_session"] == first
    assert [step["call_id"] for step in steps if step["type"] == "action"] == raw_calls(
        transcripts / "tool_heavy.jsonl"
    )


async def test_too_many_requests_hold_up_every_session(
    client: Client, transcripts: Path, one_by_one: None, autojump_clock: MockClock
) -> None:
    """From a 429 to the end of its Retry-After, no session sends anything but what was under way."""
    times: list[tuple[float, str]] = []
    limited_until = 0.0
    sleepless = client.server._handle

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal limited_until
        times.append((trio.current_time(), request.url.path))
        if len(times) == 6:
            limited_until = trio.current_time() + 40
        if trio.current_time() < limited_until:
            return httpx.Response(429, json={"error": "Too many."}, headers={"Retry-After": "40"})
        await trio.sleep(0.01)
        return await sleepless(request)  # type: ignore[no-any-return]

    client.server._handle = handle
    names = ("short", "tool_heavy", "subagent", "long")
    client.options = Options(url=URL, at_once=4)
    uploader = await client.run([transcripts / f"{name}.jsonl" for name in names])
    assert uploader is not None
    assert uploader.failed == 0
    start = times[5][0]
    assert [at for at, _ in times if start < at < start + 40] == []
    assert len(times) > 20


async def test_two_uploads_of_one_session_at_once_send_it_once(
    client: Client, transcripts: Path, tmp_path: Path
) -> None:
    """A copy beside the file itself waits for it, and then finds everything there."""
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((transcripts / "tool_heavy.jsonl").read_bytes())
    uploader = await client.run([transcripts / "tool_heavy.jsonl", copy])
    assert uploader is not None
    check_held_once(client.server, [copy])
    assert uploader.failed == 0
    assert sorted(report.already_there for report in uploader.reports) == [False, True]


async def test_at_most_so_many_sessions_are_open_at_once(
    client: Client, transcripts: Path, autojump_clock: MockClock
) -> None:
    """`--at-once` bounds it, and it is reached."""
    running = most = 0
    inner = client.server._handle

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1
        return await inner(request)  # type: ignore[no-any-return]

    client.server._handle = handle
    names = ("short", "tool_heavy", "subagent", "long")
    client.options = Options(url=URL, at_once=3)
    assert await client.run([transcripts / f"{name}.jsonl" for name in names]) is not None
    assert most == 3

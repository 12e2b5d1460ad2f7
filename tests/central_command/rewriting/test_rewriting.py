"""Large bodies are written anew by a process beside, as this one would, whatever becomes of that process."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.envelopes.attestation import canonical_text
from central_command.rewriting import process as rewriting_process
from central_command.rewriting import worker
from central_command.rewriting.process import BESIDE_BYTES_MIN, COMMAND, RewritingProcess
from persistence.files.file_system import in_thread
from tests.hostile.neighbour import connection_from
from tests.server_process import INGEST, OPEN, ServerProcess, request
from tests.signing_client import SigningClient, dumps

LARGE = json.dumps(
    {"b": ["é\ud83d", 1.0, 10**25, {"2": None, "1": "x" * BESIDE_BYTES_MIN}], "attestation": {"session_hmac": "no"}},
    indent=1,
).encode()
TWICE = LARGE.replace(b'"2"', b'"1"')
NO_JSON = LARGE[:-1]


@pytest.fixture
async def rewriting(nursery: trio.Nursery) -> AsyncIterator[RewritingProcess]:
    async with aclosing(RewritingProcess(in_thread, nursery)) as found:
        yield found


async def test_it_writes_what_this_process_would(rewriting: RewritingProcess) -> None:
    """One process, for one after the other."""
    pids = set()
    for body in (LARGE, TWICE, LARGE + b" " * 3_000_000, LARGE):
        assert await rewriting.text_of(body) == canonical_text(body)
        pids.add(rewriting.pid)
    assert canonical_text(TWICE) is None
    assert len(pids) == 1
    assert None not in pids


async def test_many_at_once_wait_for_each_other(rewriting: RewritingProcess) -> None:
    bodies = [LARGE.replace(b"no", b"%02d" % number).replace(b"x" * 9, b"y" * 9, number) for number in range(10)]
    found: dict[int, bytes | None] = {}

    async def ask(number: int, body: bytes) -> None:
        found[number] = await rewriting.text_of(body)

    async with trio.open_nursery() as nursery:
        for number, body in enumerate(bodies):
            nursery.start_soon(ask, number, body)
    assert found == {number: canonical_text(body) for number, body in enumerate(bodies)}


async def test_small_bodies_start_none(rewriting: RewritingProcess) -> None:
    assert await rewriting.text_of(b'{ "a" : 1.0 }') == b'{"a":1}'
    assert rewriting.pid is None


async def test_what_is_no_json_raises_as_it_does_here(rewriting: RewritingProcess) -> None:
    with pytest.raises(ValueError, match="Expecting"):
        await rewriting.text_of(NO_JSON)
    assert await rewriting.text_of(LARGE) == canonical_text(LARGE)


async def test_a_process_that_has_ended_is_started_anew(rewriting: RewritingProcess) -> None:
    """As it does by itself when nothing was asked for a while."""
    await rewriting.text_of(LARGE)
    first = rewriting.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await rewriting.text_of(LARGE) == canonical_text(LARGE)
    assert rewriting.pid not in {None, first}


async def ended(pid: int) -> None:
    """Wait for the end of a process, without taking it out of the system's table."""
    descriptor = os.pidfd_open(pid)
    await trio.lowlevel.wait_readable(descriptor)
    os.close(descriptor)


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


async def test_one_that_ends_by_itself_leaves_nothing(rewriting: RewritingProcess) -> None:
    """No entry in the system's table, and no pipe, until the next large body."""
    open_before = open_files()
    for _ in range(2):
        await rewriting.text_of(LARGE)
        pid = rewriting.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await ended(pid)
        await wait_all_tasks_blocked()
        assert rewriting.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert open_files() <= open_before


async def test_one_that_stands_still_is_ended(rewriting: RewritingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the body is written here."""
    await rewriting.text_of(LARGE)
    monkeypatch.setattr(rewriting_process, "ANSWER_S_MAX", 0.0)
    assert await rewriting.text_of(LARGE) == canonical_text(LARGE)
    assert rewriting.pid is None


async def test_one_that_cannot_be_started_is_done_without(
    rewriting: RewritingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting_process, "COMMAND", ("/no/such/program",))
    assert await rewriting.text_of(LARGE) == canonical_text(LARGE)


async def test_whoever_is_cancelled_leaves_no_half_answer(rewriting: RewritingProcess) -> None:
    """The next one would get it."""
    await rewriting.text_of(LARGE)
    with trio.CancelScope() as scope:
        scope.cancel()
        await rewriting.text_of(LARGE)
    other = LARGE.replace(b"no", b"on").replace(b"x", b"z")
    assert await rewriting.text_of(other) == canonical_text(other)


def test_it_ends_when_its_server_does() -> None:
    for said in (b"", b"\0\0", (9).to_bytes(8, "big") + b"half"):
        done = subprocess.run([*COMMAND], input=said, capture_output=True, check=True)
        assert done.stdout == done.stderr == b""


def test_it_ends_when_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives back the memory that a body of many small values took."""
    reading, writing = os.pipe()
    monkeypatch.setattr(worker, "STDIN", reading)
    monkeypatch.setattr(worker, "IDLE_S", 0.0)
    worker.answer_all()
    os.close(reading)
    os.close(writing)


def children(pid: int) -> set[int]:
    return {int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()}


def rewriters(pid: int) -> list[int]:
    """The rewriting processes of a server."""
    name = COMMAND[-1].encode()
    return [each for each in children(pid) if name in Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0")]


def test_a_server_takes_in_what_was_printed_anew_on_its_way(tmp_path: Path) -> None:
    """Also when its process is killed in between; that is gone when the server is."""
    client = SigningClient("sess_printed_anew")
    with ServerProcess(tmp_path / "data") as server:
        connection = connection_from(server.port, "127.0.0.1")
        answer = request(connection, "POST", OPEN, dumps(client.opening()).encode())
        client.opened(answer.members["server_public_key"])
        found: list[int] = []
        for _ in range(2):
            chunk = client.chunk_of([client.step(content="x" * 90_000) for _ in range(10)])
            printed = json.dumps(json.loads(chunk), indent=2).encode()
            answer = request(connection, "POST", INGEST, printed)
            assert answer.members["accepted"] is True, answer
            (pid,) = rewriters(server.process.pid)
            found.append(pid)
            os.kill(pid, signal.SIGKILL)
        assert len(set(found)) == 2
        printed = json.dumps(json.loads(client.chunk_of([client.step(content="x" * 90_000)])), indent=2).encode()
        assert request(connection, "POST", INGEST, printed).members["accepted"] is True
        (pid,) = rewriters(server.process.pid)
        connection.close()
        assert server.terminate() == 0
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

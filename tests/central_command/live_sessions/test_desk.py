"""Who answers for sessions: reads each line once, holds no more than it may, and never what is gone."""

import json
import threading
from typing import Any

import pytest
import trio
import trio.testing

from central_command.live_sessions.desk import SessionDesk, TooMany, Unreadable
from central_command.live_sessions.figures import SessionFigures
from central_command.live_sessions.settings import LiveSettings
from persistence.databases.session_index import LinePosition, SessionRow, TrajectorySummary
from persistence.files.failures import StorageFailure
from persistence.format.records import ClosedBy, EnvelopeKind, JournalName, Position
from persistence.journals.erased_lines import ERASED_START

CONTRIBUTOR = "a" * 32
USAGE = {"input_tokens": 10, "output_tokens": 2}


def chunk(**members: Any) -> bytes:
    steps = [{"step": 1, "type": "thought", "timestamp": 5.0, "usage": USAGE}]
    return json.dumps({"contributor_id": CONTRIBUTOR, "metadata": {}, "trajectory_log": steps, **members}).encode()


class Server:
    """An index and two journals in memory: one session's chunks, and its trajectory once there is one."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.trajectory_line: bytes | None = None
        self.reads: list[int] = []
        self.fails = False
        self.may_read = threading.Event()
        self.may_read.set()
        self.name = JournalName.ENVELOPES

    async def one(self, session_id: str) -> SessionRow | None:
        return SessionRow(
            session_id=session_id,
            provider="codex",
            model="m",
            closed=self.trajectory_line is not None,
            closed_by=None,
            envelopes=1,
            chunks=1,
            steps=1,
            points=None,
            created_at=0.0,
            last_activity_at=1.0,
        )

    async def line_positions(self, session_id: str) -> list[LinePosition]:
        return [LinePosition(EnvelopeKind.CHUNK, place(n)) for n in range(1, len(self.lines) + 1)]

    async def trajectory(self, session_id: str) -> TrajectorySummary | None:
        if self.trajectory_line is None:
            return None
        return TrajectorySummary(
            trajectory_id="t",
            contributor_id=CONTRIBUTOR,
            model="m",
            points=1.0,
            steps=1,
            closed_by=ClosedBy.SESSION_CLOSE,
            position=place(0),
        )

    def names(self, contributor_id: str, session_id: str) -> bool:
        return session_id == "erased"

    def continued_by(self, session_id: str) -> list[str]:
        return ["next", "erased"]

    def read_now(self, at: Position) -> bytes:
        self.may_read.wait()
        if self.fails:
            raise StorageFailure("the disk is gone")
        self.reads.append(at.n)
        return self.lines[at.n - 1] if at.n else self.trajectory_line or b""

    def desk(self, **settings: Any) -> SessionDesk:
        journal: Any = self
        return SessionDesk(self, journal, journal, self, self, LiveSettings(**settings))


def place(n: int) -> Position:
    return Position(n=n, day="2026-11-29", offset=0, length=1, at=0.0)


async def figures(desk: SessionDesk, session_id: str = "s") -> SessionFigures:
    found = await desk.figures(session_id)
    assert isinstance(found, SessionFigures)
    return found


def total(found: SessionFigures) -> int | None:
    return None if found.metrics.tokens is None else found.metrics.tokens.total


async def test_each_line_of_an_open_session_is_read_once() -> None:
    server = Server()
    desk = server.desk()
    server.lines.append(chunk())
    assert total(await figures(desk)) == 12
    assert total(await figures(desk)) == 12
    server.lines.append(chunk())
    assert total(await figures(desk)) == 24
    assert server.reads == [1, 2]


async def test_what_goes_on_from_a_session_is_told_but_for_what_is_to_be_erased() -> None:
    server = Server()
    server.lines.append(chunk())
    assert (await figures(server.desk())).continued_by == ["next"]


async def test_a_closed_session_is_counted_by_its_trajectory_once() -> None:
    server = Server()
    desk = server.desk()
    server.lines.append(chunk())
    await figures(desk)
    server.trajectory_line = chunk(score={"totalPoints": 3})
    for _ in range(2):
        found = await figures(desk)
        assert (total(found), found.state, found.score) == (12, "closed", {"totalPoints": 3})
    assert server.reads == [1, 0]


async def test_no_more_sessions_are_remembered_than_may_be() -> None:
    server = Server()
    desk = server.desk(counted_sessions_max=2)
    server.lines.append(chunk())
    for name in "abcab":
        await figures(desk, name)
    assert len(server.reads) == 5
    assert "remembers=2" in repr(desk)


@pytest.mark.parametrize("line", [ERASED_START + b"}", b'{"trajectory_log":[{"timestamp":1e999}]}'])
async def test_what_is_gone_or_beyond_numbers_leaves_the_tokens_unknown(line: bytes) -> None:
    """The rest is told all the same."""
    server = Server()
    server.lines += [chunk(), line]
    found = await figures(server.desk())
    assert (total(found), found.metrics.message_count) == (None, 1)


async def test_who_is_to_be_erased_is_forgotten_and_a_broken_disk_is_said(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    desk = server.desk()
    server.lines.append(chunk())
    assert await desk.figures("erased") is None
    assert "remembers=0" in repr(desk)
    server.fails = True
    assert isinstance(await desk.figures("s"), Unreadable)
    assert "the disk is gone" in caplog.text


async def test_only_so_many_wait_while_one_is_counted() -> None:
    """The next one is told to come back, and who waits is answered."""
    server = Server()
    desk = server.desk(waiting_max=1)
    server.lines.append(chunk())
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await desk.figures("s"))

    server.may_read.clear()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert isinstance(await desk.figures("s"), TooMany)
        server.may_read.set()
    assert [isinstance(each, SessionFigures) for each in answers] == [True, True]

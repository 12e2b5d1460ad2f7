"""A step is credited once, whichever client sends which copy of it, and in whatever order: points are those of the
distinct steps, counted here by what was written into the files.
"""

import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import ServerProcess, run_command

POINTS_PER_STEP = 5
"""Of the model below, whose steps have no bonus here."""
FORKS = 6
HISTORY_STEPS = 4
Event = dict[str, Any]


class Files:
    """Session files of Claude Code, and how many distinct steps there are in them."""

    def __init__(self, folder: Path) -> None:
        self.sessions, self.forks = folder / "sessions", folder / "forks"
        self.steps = 0
        self._uuids = 0
        for number in range(FORKS):
            session_id, history = self._id(), self._events(f"session {number}", HISTORY_STEPS, at_s=number * 100)
            self._write(self.sessions, session_id, history)
            fork_id, marks = self._id(), number % 3
            copied = [self._copy(event, session_id, marks) for event in history]
            # Its own steps are too few for a run of three, or just enough.
            own = self._events(f"fork {number}", 1 + number // 2, at_s=number * 100 + 50, parent=copied[-1]["uuid"])
            self._write(self.forks, fork_id, [*copied, *own])

    def _id(self) -> str:
        self._uuids += 1
        return str(uuid.UUID(int=self._uuids, version=4))

    def _events(self, name: str, count: int, *, at_s: int, parent: str | None = None) -> list[Event]:
        events: list[Event] = []
        for number in range(count):
            said = f"In {name} this is what comes as number {number} of what is said, and nowhere else."
            is_first = parent is None
            message = (
                {"role": "user", "content": said}
                if is_first
                else {"role": "assistant", "model": "claude-opus-4-6", "id": f"msg_{name} {number}", "type": "message"}
                | {"content": [{"type": "text", "text": said}], "usage": {"input_tokens": 1, "output_tokens": 2}}
            )
            minute, second = divmod(at_s + number, 60)
            events.append(
                {
                    "type": "user" if is_first else "assistant",
                    "uuid": self._id(),
                    "parentUuid": parent,
                    "isSidechain": False,
                    "userType": "external",
                    "cwd": "/work",
                    "version": "2.1.230",
                    "timestamp": f"2026-11-20T10:{minute:02}:{second:02}.000Z",
                    "message": message,
                }
            )
            parent = events[-1]["uuid"]
        self.steps += count
        return events

    def _copy(self, event: Event, session_id: str, marks: int) -> Event:
        """An event of the history in a fork's file: without a word, or marked, under its own uuid or another."""
        if marks == 0:
            return event
        origin = {"sessionId": session_id, "messageUuid": event["uuid"]}
        return {**event, "forkedFrom": origin, "uuid": event["uuid"] if marks == 1 else self._id()}

    @staticmethod
    def _write(folder: Path, session_id: str, events: list[Event]) -> None:
        folder.mkdir(exist_ok=True)
        lines = [json.dumps({**event, "sessionId": session_id}) + "\n" for event in events]
        (folder / f"{session_id}.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("orders", [("forks first", "sessions first"), ("sessions first", "forks first")])
def test_what_forks_and_two_homes_copy_is_credited_once(tmp_path: Path, orders: tuple[str, str]) -> None:
    """A fork without a mark is sent as a whole by who has not sent its history, and without it by who has."""
    files = Files(tmp_path)
    folders = {"forks first": (files.forks, files.sessions), "sessions first": (files.sessions, files.forks)}
    settings = {"CENTRAL_COMMAND__SESSIONS__OPENS_PER_MACHINE_PER_H": "1000"}
    with ServerProcess(tmp_path / "data", settings=settings) as server:
        for home, order in enumerate(orders):
            own = {f"XDG_{name}_HOME": str(tmp_path / f"{name}-{home}") for name in ("CONFIG", "STATE")}
            for folder in folders[order]:
                done = run_command("upload", str(folder), "--url", server.url, cwd=tmp_path, settings=own)
                assert done.returncode == 0, done.stderr
        assert server.terminate() == 0
    with closing(sqlite3.connect(tmp_path / "data" / "ledger.db")) as connection:
        ((points,),) = connection.execute("SELECT sum(total_points) FROM balances").fetchall()
    assert points == POINTS_PER_STEP * files.steps
    done = run_command("verify", "--deep", "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
    assert (done.returncode, "otherwise" in done.stdout) == (0, False), done.stdout

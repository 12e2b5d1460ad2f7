"""Thousands of small sessions, some forked, uploaded again and again from two homes: each step is credited once.

`python -m tests.copies_proof --sessions 5000 --forks 100` (or `make copies-proof`) takes some minutes; the tests run a
small one. Points are those of the distinct steps, counted by what was written into the files, and `verify --deep` finds
nothing. It ends with a sentence, or with an AssertionError that says what is wrong.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.server_process import ServerProcess, run_command

POINTS_PER_STEP = 5
"""Of the model below, whose steps have no bonus here."""
HISTORY_STEPS = 4
BEGAN = datetime(2026, 11, 20, 10, tzinfo=UTC)
HOMES = ("a", "a", "b")
UPLOAD_TIMEOUT_S = 1_800
SETTINGS = {
    "CENTRAL_COMMAND__SESSIONS__OPENS_PER_MACHINE_PER_H": "1000000",
    "CENTRAL_COMMAND__SESSIONS__OPENS_PER_CONTRIBUTOR_PER_H": "1000000",
}
"""What holds back who opens sessions: one machine sends all of them."""
Event = dict[str, Any]


class SessionFiles:
    """Session files of Claude Code, forks of the first of them, and how many distinct steps there are in all."""

    def __init__(self, folder: Path, *, sessions: int, forks: int) -> None:
        self.sessions, self.forks = folder / "sessions", folder / "forks"
        self.steps = 0
        self._uuids = 0
        for number in range(sessions):
            session_id = self._id()
            history = self._events(f"session {number}", HISTORY_STEPS + number % 5, at_s=number * 100)
            self._write(self.sessions, session_id, history)
            if number >= forks:
                continue
            fork_id, marks = self._id(), number % 3
            copied = [self._copy(event, session_id, marks) for event in history]
            # Its own steps are too few for a run of three, or just enough.
            own = self._events(f"fork {number}", 1 + number // 2 % 4, at_s=number * 100 + 50, parent=copied[-1]["uuid"])
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
            events.append(
                {
                    "type": "user" if is_first else "assistant",
                    "uuid": self._id(),
                    "parentUuid": parent,
                    "isSidechain": False,
                    "userType": "external",
                    "cwd": "/work",
                    "version": "2.1.230",
                    "timestamp": (BEGAN + timedelta(seconds=at_s + number)).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
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
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({**event, "sessionId": session_id}) + "\n" for event in events]
        (folder / f"{session_id}.jsonl").write_text("".join(lines))


def upload(folder: Path, url: str, *, home: Path, options: Sequence[str] = ()) -> None:
    """Upload all that is in a folder, as the one whose home this is."""
    own = {f"XDG_{name}_HOME": str(home / name) for name in ("CONFIG", "STATE")}
    home.mkdir(exist_ok=True)
    command = ("upload", str(folder), "--url", url, *options)
    done = run_command(*command, cwd=home, settings=own, timeout_s=UPLOAD_TIMEOUT_S)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]


def check(data: Path, steps: int) -> None:
    """Each of so many distinct steps is credited once, and everything stored is as it should be."""
    with closing(sqlite3.connect(data / "ledger.db")) as connection:
        ((points,),) = connection.execute("SELECT sum(total_points) FROM balances").fetchall()
    assert points == POINTS_PER_STEP * steps, f"{points} points, and {steps} distinct steps are worth 5 each"
    done = run_command("verify", "--deep", "--data-dir", str(data), cwd=data.parent, timeout_s=UPLOAD_TIMEOUT_S)
    assert (done.returncode, "otherwise" in done.stdout) == (0, False), done.stdout


def prove(root: Path, *, sessions: int, forks: int, homes: Sequence[str] = HOMES) -> str:
    """Upload so many sessions, and forks of some, once for each of the homes; say what it came to."""
    files = SessionFiles(root / "projects", sessions=sessions, forks=forks)
    with ServerProcess(root / "data", settings=SETTINGS) as server:
        for home in homes:
            upload(root / "projects", server.url, home=root / home, options=("--at-once", "8"))
        assert server.terminate() == 0
    check(root / "data", files.steps)
    what = f"{sessions} sessions and {forks} forks, uploaded {len(homes)} times from {len({*homes})} homes"
    return f"{what}: {files.steps} distinct steps, each credited once"


def main() -> None:
    """Prove it, and say how much of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--forks", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="copies-proof-") as root:
        sys.stdout.write(prove(Path(root), sessions=options.sessions, forks=options.forks) + "\n")


if __name__ == "__main__":
    main()

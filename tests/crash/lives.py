"""Lives of the service that end at a failpoint, and what the restart after each found."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec
import trio
from msgspec import structs

from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, Opened
from persistence.settings.storage import StorageSettings
from persistence.upkeep.rebuilding import rebuild
from tests.crash.acknowledged import Acknowledged, lines_of, rows, tables
from tests.crash.failing_service import Run
from tests.crash.failpoint_list import INTERRUPTED_SEEDS, JOURNALS, Place
from tests.crash.failpoints import Moment, Phase
from tests.running_service import Running, running
from tests.server_process import INGEST, OPEN, REPOSITORY, Answer, environment
from tests.stored_state import findings

ACTORS_MAX = 4_096
CROWDED_ACTORS_MAX = 3


class Found(msgspec.Struct, frozen=True):
    """What the restart after a kill found and did. Bytes, lines, sessions, requests."""

    torn_bytes: int
    lines_projected: int
    closes_finished: int
    unanswered: int
    unanswered_stored: int
    """Of those, how many were on disk all the same."""


class Known:
    """What the clients of a life know: answers, and requests that were never answered."""

    def __init__(self, events: Path) -> None:
        self.acknowledged = Acknowledged()
        self.unanswered: dict[tuple[str, str], None] = {}
        self.operations: Counter[str] = Counter()
        # A death in another thread can cut the note of a request that is about to be sent.
        whole, _, _ = events.read_text().rpartition("\n")
        for line in whole.splitlines():
            event = json.loads(line)
            if "operations" in event:
                self.operations = Counter(event["operations"])
            elif "status" in event:
                del self.unanswered[event["path"], event["body"]]
                answer = Answer(event["status"], event["members"])
                self.acknowledged.take(event["path"], event["body"].encode(), answer)
            else:
                self.unanswered[event["path"], event["body"]] = None


class Runner:
    """The program that lives and dies."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._interrupted: dict[int, Run] = {}

    def run(self, run: Run) -> int:
        """Live one life; return the signal that ended it as a negative number, 0 for none."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(msgspec.json.encode(run).decode() + "\n")
        stdin.flush()
        status: int = json.loads(stdout.readline())
        return status

    def life(self, name: str, operation: str = "", count: int = 0, moment: Moment = Moment.BEFORE, **more: Any) -> Run:
        """A life on the data directory `name`."""
        return Run(
            root=str(self._folder / name),
            events=str(self._folder / f"{name}.events"),
            operation=operation,
            count=count,
            moment=moment,
            **more,
        )

    def interrupted(self, seed: int) -> Run:
        """A life that left to its restart everything that there is to do; made once for each seed.

        Nothing is projected, every journal's end is torn, and a session is closed but has no trajectory.
        """
        if seed not in self._interrupted:
            self._interrupted[seed] = self._interrupt(seed)
        return self._interrupted[seed]

    def _interrupt(self, seed: int) -> Run:
        # One trajectory is written at a time, so after the first wave's it is one of the second wave.
        whole = self.life(f"interrupted-{seed}-whole", seed=seed, projects=False)
        assert self.run(whole) == 0
        count = len(lines_of(Path(whole.root), "trajectories")) + 1
        life = self.life(
            f"interrupted-{seed}", "serving: write trajectories", count, Moment.HALFWAY, seed=seed, projects=False
        )
        assert self.run(life) == -SIGKILL
        for journal in ("envelopes", "refused"):
            # As when these were being written in the same instant.
            file = max((Path(life.root) / journal).glob("*.jsonl"))
            last = lines_of(Path(life.root), journal)[-1]
            if file.read_bytes().endswith(b"\n"):
                with file.open("ab") as opened:
                    opened.write(last[: max(1, len(last) * seed // 4)])
        return life

    def deaths(self, place: Place, moment: Moment) -> Iterator[Run]:
        """The lives that die at this place and moment."""
        for seed, count in zip(INTERRUPTED_SEEDS, place.counts, strict=True):
            name = f"{place.operation}-{moment}-{seed}".replace(" ", "-").replace(":", "")
            if place.operation.phase is Phase.RECOVERY:
                life = self.copy_of(self.interrupted(seed), name)
            else:
                life = self.life(
                    name,
                    seed=seed,
                    midnights=place.operation.phase is Phase.DAY_CHANGE,
                    actors_max=CROWDED_ACTORS_MAX if place.is_crowded else ACTORS_MAX,
                    projects=place.operation.phase is not Phase.STOP,
                )
            yield structs.replace(life, operation=str(place.operation), count=count, moment=moment)

    def copy_of(self, life: Run, name: str) -> Run:
        """A life on a copy of what another one left, without clients."""
        copied = self.life(name, seed=life.seed, sessions=0)
        shutil.copytree(life.root, copied.root)
        shutil.copy(life.events, copied.events)
        return copied

    def restarted_after(self, life: Run, *, rebuilt: bool) -> Found:
        """Live a life that must end at its failpoint, and check the restart after it."""
        status = self.run(life)
        try:
            assert status == -SIGKILL, f"the life ended with {status}: it never came to its failpoint"
            return trio.run(partial(restarted, Path(life.root), Known(Path(life.events)), rebuilt=rebuilt))
        except BaseException as problem:
            problem.add_note(str(life))
            raise
        finally:
            shutil.rmtree(life.root, ignore_errors=True)


@contextmanager
def running_program(folder: Path) -> Iterator[Runner]:
    """Start the program; it ends when its input does."""
    program = REPOSITORY / "tests" / "crash" / "failing_service.py"
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment({}),
        cwd=folder,
    )
    with process:
        try:
            yield Runner(process, folder)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


async def restarted(root: Path, known: Known, *, rebuilt: bool) -> Found:
    """Start again in this process: everything is there, resends agree, and unanswered requests go through.

    `rebuilt` also checks everything once more, derives the databases anew and compares each row.
    """
    torn_bytes, unprojected, trajectories = _left_behind(root)
    async with running(root) as service:
        await service.projected()
        assert known.acknowledged.differences(root) == []
        assert await findings(root) == []
        finished = len(lines_of(root, "trajectories")) - trajectories
        stored = await _resend_everything(service, known)
    assert _kept_bytes(root) >= torn_bytes, "what was torn off was not kept"
    assert known.acknowledged.differences(root) == []
    if rebuilt:
        assert await findings(root) == []
        before = tables(root)
        await rebuild(root, StorageSettings(), applied_at="2026-11-20T10:00:00.000000Z")
        assert tables(root) == before
    return Found(torn_bytes, unprojected + finished, finished, len(known.unanswered), stored)


def _left_behind(root: Path) -> tuple[int, int, int]:
    """The bytes after the last whole lines, the lines that no database has seen, and the trajectories."""
    torn = seen = lines = 0
    for journal in JOURNALS:
        texts = [path.read_bytes() for path in sorted((root / journal).glob("*.jsonl"))]
        torn += sum(len(text) - text.rfind(b"\n") - 1 for text in texts)
        lines += sum(text.count(b"\n") for text in texts)
    if lines:
        ((seen,),) = rows(root / "sessions.db", "SELECT coalesce(sum(n), 0) FROM projection_positions")
    return torn, lines - seen, len(lines_of(root, "trajectories"))


def _kept_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "torn").glob("*"))


async def _resend_everything(service: Running, known: Known) -> int:
    """Send again what was answered, then what was not; return how many of the latter had been stored."""
    counts = {name: len(lines_of(service.root, name)) for name in JOURNALS}
    for session in known.acknowledged.sessions.values():
        for envelope in session.envelopes.values():
            assert await service.send(envelope.body) == Accepted(envelope.envelope_id, duplicate=True)
    assert {name: len(lines_of(service.root, name)) for name in JOURNALS} == counts
    stored = 0
    for path, text in known.unanswered:
        if path == INGEST and '"unheard-of"' not in text:
            outcome = await service.send(text.encode())
            assert isinstance(outcome, Accepted), outcome
            stored += outcome.duplicate
            members = {"accepted": True, "envelope_id": outcome.envelope_id, "duplicate": outcome.duplicate}
            known.acknowledged.take(path, text.encode(), Answer(200, members))
        elif path == OPEN:
            before = rows(service.root / "sessions.db", "SELECT count(*) FROM sessions")
            message = OpenSession(**json.loads(text))
            outcomes = [await service.service.open_session(message) for _ in range(2)]
            assert isinstance(outcomes[0], Opened)
            assert outcomes[0] == outcomes[1]
            stored += rows(service.root / "sessions.db", "SELECT count(*) FROM sessions") == before
    return stored

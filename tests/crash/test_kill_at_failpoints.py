"""`kill -9` at chosen operations on files and databases, in service and in recovery: every restart mends everything."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest

from actors.messages import OpenSession
from actors.outcomes import Accepted, Opened
from tests.crash.acknowledged import Acknowledged, lines_of, tables
from tests.crash.failing_service import Run
from tests.crash.failpoints import Moment
from tests.running_service import Running, running
from tests.server_process import INGEST, OPEN, REPOSITORY, Answer, environment
from tests.stored_state import findings

JOURNALS = ("envelopes", "refused", "trajectories")


class Runner:
    """The program that lives and dies."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(self, run: Run) -> int:
        """Live one life; return the signal that ended it as a negative number, 0 for none."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(msgspec.json.encode(run).decode() + "\n")
        stdin.flush()
        status: int = json.loads(stdout.readline())
        return status

    def life(self, name: str, operation: str = "", count: int = 0, moment: Moment = Moment.BEFORE, **more: int) -> Run:
        """A life on the data directory `name`."""
        return Run(
            root=str(self._folder / name),
            events=str(self._folder / f"{name}.events"),
            operation=operation,
            count=count,
            moment=moment,
            **more,
        )


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


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One program for all tests here."""
    with running_program(tmp_path_factory.mktemp("failpoints")) as program:
        yield program


class Known:
    """What the clients of a life know: answers, and requests that were never answered."""

    def __init__(self, events: Path) -> None:
        self.acknowledged = Acknowledged()
        self.unanswered: dict[tuple[str, str], None] = {}
        self.operations: Counter[str] = Counter()
        for line in events.read_text().splitlines():
            event = json.loads(line)
            if "operations" in event:
                self.operations = Counter(event["operations"])
            elif "status" in event:
                del self.unanswered[event["path"], event["body"]]
                answer = Answer(event["status"], event["members"])
                self.acknowledged.take(event["path"], event["body"].encode(), answer)
            else:
                self.unanswered[event["path"], event["body"]] = None


def chosen(count: int, spread: int) -> list[int]:
    """The first operations, and others up to the count, `spread` in all."""
    picked = {1, 2, 3, *(max(1, count * part // spread) for part in range(1, spread))}
    return sorted(each for each in picked if each <= count)


async def check(root: Path, known: Known) -> None:
    """Start again in the test's own process: everything is there, resends agree, and unanswered requests go through."""
    async with running(root) as service:
        await service.projected()
        assert known.acknowledged.differences(root) == []
        assert await findings(root) == []
        await _resend_everything(service, known)
    assert known.acknowledged.differences(root) == []
    assert await findings(root) == []


async def _resend_everything(service: Running, known: Known) -> None:
    counts = {name: len(lines_of(service.root, name)) for name in JOURNALS}
    for session in known.acknowledged.sessions.values():
        for envelope in session.envelopes.values():
            assert await service.send(envelope.body) == Accepted(envelope.envelope_id, duplicate=True)
    assert {name: len(lines_of(service.root, name)) for name in JOURNALS} == counts
    for path, text in known.unanswered:
        if path == INGEST and '"unheard-of"' not in text:
            outcome = await service.send(text.encode())
            assert isinstance(outcome, Accepted), outcome
            members = {"accepted": True, "envelope_id": outcome.envelope_id, "duplicate": outcome.duplicate}
            known.acknowledged.take(path, text.encode(), Answer(200, members))


@pytest.mark.parametrize(
    ("operation", "moments"),
    [
        ("write", (Moment.BEFORE, Moment.HALFWAY, Moment.AFTER)),
        ("sync", (Moment.BEFORE, Moment.AFTER)),
        ("create", (Moment.BEFORE, Moment.AFTER)),
        ("make_directory", (Moment.BEFORE, Moment.AFTER)),
        ("sync_directory", (Moment.BEFORE, Moment.AFTER)),
        ("commit sessions.db", (Moment.BEFORE, Moment.HALFWAY, Moment.AFTER)),
        ("commit ledger.db", (Moment.BEFORE, Moment.HALFWAY, Moment.AFTER)),
        ("checkpoint sessions.db", (Moment.BEFORE, Moment.AFTER)),
        ("checkpoint ledger.db", (Moment.BEFORE, Moment.AFTER)),
        ("open sessions.db", (Moment.BEFORE, Moment.AFTER)),
        ("open ledger.db", (Moment.BEFORE, Moment.AFTER)),
    ],
)
async def test_a_death_at_an_operation_in_service(runner: Runner, operation: str, moments: Sequence[Moment]) -> None:
    """Whatever the process was doing, what it had acknowledged is there after the restart, once."""
    name = operation.replace(" ", "-")
    whole = runner.life(f"{name}-whole", seed=1)
    assert runner.run(whole) == 0
    count = Known(Path(whole.events)).operations[operation]
    assert count > 0, f"nothing of the kind happens: {operation}"
    lives = [
        runner.life(f"{name}-{number}-{moment}", operation, number, moment, seed=number)
        for number in chosen(count, 8)
        for moment in moments
    ]
    for life in lives:
        status = runner.run(life)
        assert status == -SIGKILL, f"{life} ended with {status}"
        with _noted(life):
            await check(Path(life.root), Known(Path(life.events)))


@contextmanager
def _noted(life: Run) -> Iterator[None]:
    try:
        yield
    except BaseException as problem:
        problem.add_note(str(life))
        raise


@pytest.mark.parametrize("operation", ["create", "write", "sync", "truncate", "sync_directory", "commit sessions.db"])
async def test_a_death_in_recovery(runner: Runner, operation: str) -> None:
    """Recovery can be killed at each of its operations, any number of times in a row, and still ends in the same."""
    name = f"recovery-{operation.replace(' ', '-')}"
    torn = runner.life(name, "write", 8, Moment.HALFWAY, seed=7)
    assert runner.run(torn) == -SIGKILL
    known = Known(Path(torn.events))
    killed = status = 0
    for number in range(1, 20):
        for moment in (Moment.BEFORE, Moment.AFTER):
            # The journals keep the lines that recovery has to project: the databases have seen nothing of them yet.
            life = runner.life(name, operation, number, moment, sessions=0)
            status = runner.run(life)
            assert status in (0, -SIGKILL), f"{life} ended with {status}"
            killed += status == -SIGKILL
        if status == 0:
            break
    assert killed, f"nothing of the kind happens in recovery: {operation}"
    with _noted(torn):
        assert list((Path(torn.root) / "torn").iterdir()), "the torn line was not kept"
        await check(Path(torn.root), known)


async def test_nothing_is_found_twice_however_often_it_is_recovered(runner: Runner) -> None:
    """Further starts change no row and no line."""
    torn = runner.life("often", "commit sessions.db", 4, Moment.BEFORE, seed=5)
    assert runner.run(torn) == -SIGKILL
    root = Path(torn.root)
    async with running(root):
        pass
    before = tables(root), [lines_of(root, name) for name in JOURNALS]
    for _ in range(3):
        async with running(root):
            pass
    assert (tables(root), [lines_of(root, name) for name in JOURNALS]) == before


async def test_an_unanswered_opening_is_answered_alike_after_the_restart(runner: Runner) -> None:
    """Its key was on disk before it was given away; one that was not is given anew."""
    life = runner.life("opening", "commit sessions.db", 3, Moment.AFTER, seed=3)
    assert runner.run(life) == -SIGKILL
    known = Known(Path(life.events))
    async with running(Path(life.root)) as service:
        openings = [text for path, text in known.unanswered if path == OPEN]
        assert openings
        for text in openings:
            message = OpenSession(**json.loads(text))
            outcomes = [await service.service.open_session(message) for _ in range(2)]
            assert isinstance(outcomes[0], Opened)
            assert outcomes[0] == outcomes[1]

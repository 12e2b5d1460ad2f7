"""A program, not a test: runs the service, with clients in the same process, and dies at chosen operations.

It reads one JSON line for each run from stdin and forks a process for it, so that the imports are paid once. In that
process a few sessions are driven at once through the real journals, threads and databases; only the sockets are left
out. Before each request its path and body go to the run's events file, and the answer after it came, by system calls
of their own: what stands there is what a client would know after the death. So writing an answer there is sending it,
and a place to die at like any other. At its end a run writes how often each operation happened.

Answered on stdout, one JSON line a run: the number of the signal that ended it, 0 for none.
"""

import json
import os
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from actors.envelopes.reading import read_envelope
from actors.envelopes.refusals import Refusal
from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import TakenIn
from central_command.http.requests.replies import Replies
from central_command.http.settings import HttpSettings
from central_command.service import Service, open_service
from central_command.settings.configuration import Settings
from persistence.format.layout import DataLayout
from persistence.format.records import OperationRecord
from persistence.operations import OperationsJournal, open_operations
from persistence.storage import Platform
from tests.crash.failpoints import Death, FailingFileSystem, Failpoint, Moment, Phase, failing_databases
from tests.crash.failpoints_within import failpoints_within
from tests.crash.session_script import Request, session_script
from tests.server_process import CLOSE, INGEST, OPEN, Answer
from tests.signing_client import SigningClient

SESSIONS = 6

WAVES_MAX = 60
"""Further sessions come, `SESSIONS` at a time, until the failpoint is reached: how lines share a transaction or a sync
depends on the machine, so no number of sessions has a given number of them."""

DAY_S = 86_400
DAYS_MAX = 5
ANSWERS_A_DAY = 12
"""A life with midnights begins so many days ago, and each day lasts so many answers; then it is today."""

NEVER_S = 100_000.0

REPLIES = Replies(HttpSettings())


class Run(msgspec.Struct, frozen=True):
    """One life of the service: where, which failpoint, and whether clients come."""

    root: str
    events: str
    operation: str = ""
    count: int = 0
    moment: Moment = Moment.BEFORE
    sessions: int = SESSIONS
    seed: int = 0
    midnights: bool = False
    actors_max: int = 4_096
    projects: bool = True
    """Without it lines are projected only when somebody waits for it, and at the stop."""
    retries: tuple[str, ...] = ()
    """Dead letters of earlier lives that an operator tries again, one after the other, in the place of clients."""

    @property
    def failpoint(self) -> Failpoint | None:
        """Where it dies."""
        return Failpoint(self.operation, self.count, self.moment) if self.operation else None


class _Events:
    """What the clients know, in a file that survives the process."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **members: Any) -> None:
        os.write(self._descriptor, json.dumps(members).encode() + b"\n")


async def _post(service: Service, sent: Request) -> Answer:
    """What the HTTP layer does with a request."""
    if sent.path == OPEN:
        reply = REPLIES.opened(await service.open_session(OpenSession(**json.loads(sent.body))))
    elif sent.path == CLOSE:
        reply = REPLIES.closed(await service.close_session(json.loads(sent.body)["session_id"]))
    else:
        assert sent.path == INGEST
        envelope = read_envelope(sent.body, nesting_max=64)
        reply = REPLIES.ingested(envelope if isinstance(envelope, Refusal) else await service.ingest(envelope))
    return Answer(reply.status, json.loads(reply.body))


class _Clock:
    """Now; or some days ago, and every so many answers a day later."""

    def __init__(self, *, midnights: bool) -> None:
        self._days = DAYS_MAX if midnights else 0
        self.answers = 0

    def __call__(self) -> float:
        return time.time() - DAY_S * max(0, self._days - self.answers // ANSWERS_A_DAY)


class _Clients:
    """Drives sessions, and notes what they know."""

    def __init__(self, service: Service, events: _Events, death: Death, clock: _Clock) -> None:
        self._service = service
        self._events = events
        self._death = death
        self._clock = clock

    async def drive(self, session_id: str, random: Random) -> None:
        """Go through one session's script."""
        script = session_script(SigningClient(session_id, now_s=self._clock()), random)
        sent = next(script)
        while True:
            key = {"path": sent.path, "body": sent.body.decode()}
            self._events.write(**key)
            answer = await _post(self._service, sent)
            with self._death.around("answer", _kind_of(sent, answer)):
                self._events.write(**key, status=answer.status, members=answer.members)
            self._clock.answers += 1
            try:
                sent = script.send(answer)
            except StopIteration:
                return


def _kind_of(sent: Request, answer: Answer) -> str:
    if sent.path == OPEN:
        return "an opening"
    if sent.path == CLOSE:
        return "an HTTP close"
    if not answer.members["accepted"]:
        return "a refused chunk"
    kinds = {"CHUNK": "a chunk", "SESSION_CLOSE": "SESSION_CLOSE", "USER_FEEDBACK": "USER_FEEDBACK"}
    return "a resend" if "duplicate" in answer.members else kinds[json.loads(sent.body).get("type", "CHUNK")]


def _settings_of(run: Run) -> Settings:
    storage = {"free_bytes_min": 0, **({} if run.projects else {"projection_interval_s": NEVER_S})}
    sessions = {"active_actors_max": run.actors_max, "activation_wait_s": NEVER_S}
    return msgspec.convert({"storage": storage, "sessions": sessions, "embedding": {"enabled": False}}, Settings)


OPERATION = OperationRecord(operation=msgspec.Raw(b"{}"))


def _operations(
    settings: Settings, service: Service, root: Path, platform: Platform
) -> AbstractAsyncContextManager[OperationsJournal]:
    """The journal that a server's process opens beside the service, in its first life.

    What recovers it is what recovers the others, which is died at there.
    """
    return open_operations(
        DataLayout(root),
        settings.storage,
        quota_bytes=settings.observer.quota_bytes,
        disk=service.disk,
        files=platform.files,
        clock=platform.clock,
        offload=platform.offload,
    )


async def _use(run: Run, service: Service, events: "_Events", death: Death, clock: "_Clock", random: Random) -> None:
    clients = _Clients(service, events, death, clock)
    for wave in range(WAVES_MAX):
        async with trio.open_nursery() as nursery:
            for index in range(run.sessions):
                session_id = f"sess_{run.seed}_{wave}_{index}"
                nursery.start_soon(clients.drive, session_id, Random(random.random()))
        if not death.is_ahead():
            break


async def _retry(run: Run, service: Service, events: _Events, death: Death) -> None:
    for letter_id in run.retries:
        outcome = await service.letters.retry(letter_id)
        assert isinstance(outcome, tuple), outcome
        taken_in = {each.letter_id: each.envelope_id for each in outcome if isinstance(each, TakenIn)}
        with death.around("answer", "a retry"):
            events.write(letter=letter_id, taken_in=taken_in)


async def _live(run: Run, phase: Phase) -> None:
    root = Path(run.root)
    death = Death(run.failpoint, phase)
    clock = _Clock(midnights=run.midnights)
    platform = Platform(
        clock=clock,
        environ={},
        files=FailingFileSystem(root, death),
        open_database=failing_databases(death),  # type: ignore[arg-type]
    )
    events = _Events(run.events)
    random = Random(run.seed)
    with failpoints_within(death):
        settings = _settings_of(run)
        async with open_service(settings, root, platform) as service:
            death.phase = Phase.SERVING
            if phase is Phase.FIRST_START:
                async with _operations(settings, service, root, platform) as operations:
                    await operations.append([OPERATION])
                    await _use(run, service, events, death, clock, random)
            elif run.retries:
                await _retry(run, service, events, death)
            else:
                await _use(run, service, events, death, clock, random)
            death.phase = Phase.STOP
    events.write(operations=death.operations)


def main() -> None:
    """Live one life after the other, each in a process of its own."""
    for line in sys.stdin:
        run = msgspec.json.decode(line, type=Run)
        child = os.fork()
        if child == 0:
            trio.run(_live, run, Phase.RECOVERY if Path(run.root).exists() else Phase.FIRST_START)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)  # noqa: T201 - this is its answer


if __name__ == "__main__":
    main()

"""A program, not a test: runs the service, with clients in the same process, and dies at chosen operations.

It reads one JSON line for each run from stdin and forks a process for it, so that the imports are paid once. In that
process a few sessions are driven at once through the real journals, threads and databases; only the sockets are left
out. Before each request its path and body go to the run's events file, and the answer after it came, by system calls
of their own: what stands there is what a client would know after the death. At its end a run writes how often each
operation happened.

Answered on stdout, one JSON line a run: the number of the signal that ended it, 0 for none.
"""

import json
import os
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from actors.messages import OpenSession
from actors.outcomes import Refusal
from actors.reading import read_envelope
from central_command.config import Settings
from central_command.http.replies import Replies
from central_command.http.settings import HttpSettings
from central_command.service import Service, open_service
from persistence.storage import Platform
from tests.crash.failpoints import Death, FailingFileSystem, Failpoint, Moment, failing_databases
from tests.crash.session_script import Request, session_script
from tests.server_process import CLOSE, INGEST, OPEN, Answer
from tests.signing_client import SigningClient

SESSIONS = 6

REPEATED = frozenset({"write", "sync", "commit sessions.db", "commit ledger.db"})
"""What happens again and again for as long as clients come; everything else belongs to a start or a stop."""

WAVES_MAX = 50
"""Further sessions come, `SESSIONS` at a time, until the failpoint is reached: how lines share a transaction or a sync
depends on the machine, so no number of sessions has a given number of them."""

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


async def _drive(service: Service, events: _Events, session_id: str, random: Random) -> None:
    script = session_script(SigningClient(session_id), random)
    sent = next(script)
    while True:
        key = {"path": sent.path, "body": sent.body.decode()}
        events.write(**key)
        answer = await _post(service, sent)
        events.write(**key, status=answer.status, members=answer.members)
        try:
            sent = script.send(answer)
        except StopIteration:
            return


async def _live(run: Run) -> None:
    death = Death(run.failpoint)
    platform = Platform(
        clock=time.time,
        environ={},
        files=FailingFileSystem(death),
        open_database=failing_databases(death),  # type: ignore[arg-type]
    )
    events = _Events(run.events)
    random = Random(run.seed)
    settings = msgspec.convert({"storage": {"free_bytes_min": 0}}, Settings)
    async with open_service(settings, Path(run.root), platform) as service:
        for wave in range(WAVES_MAX):
            async with trio.open_nursery() as clients:
                for index in range(run.sessions):
                    session_id = f"sess_{run.seed}_{wave}_{index}"
                    clients.start_soon(_drive, service, events, session_id, Random(random.random()))
            if not death.is_ahead(REPEATED):
                break
    events.write(operations=death.operations)


def main() -> None:
    """Live one life after the other, each in a process of its own."""
    for line in sys.stdin:
        run = msgspec.json.decode(line, type=Run)
        child = os.fork()
        if child == 0:
            trio.run(_live, run)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)  # noqa: T201 - this is its answer


if __name__ == "__main__":
    main()

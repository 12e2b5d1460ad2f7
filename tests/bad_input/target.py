"""A server for the corpus: its data directory holds what the cases need before it starts, and later nothing more."""

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.sessions.messages import OpenSession
from actors.sessions.outcomes import Accepted, Closed, Opened
from tests.bad_input.corpus import Case, SignedEnvelope
from tests.bad_input.data_state import Journals, journals, rows_changed, tables
from tests.bad_input.recipes import Sent, bytes_to_send, session_id_of
from tests.bad_input.wire import Received, Wire
from tests.running_service import Running, running, settings_with
from tests.server_process import ServerProcess
from tests.signing_client import SigningClient

SESSIONS = {"sequence_gaps": "refuse", "envelopes_max": 3, "opens_per_machine_per_h": 2}
"""Limits small enough to be reached by a case."""

IMPATIENT = {
    "keep_alive_s": 3.0,
    "body_timeout_s": 1.5,
    "write_timeout_s": 1.5,
    "linger_s": 0.5,
    "limits_enabled": True,
    "requests_per_minute": 2,
    "embed_requests_per_minute": 2,
}
"""A server that waits for nobody and lets an address send two requests a minute; its cases take their own addresses."""


class Target:
    """The running server and the sessions made for its cases."""

    def __init__(self, root: Path, cases: Mapping[str, Case], *, http: Mapping[str, Any] | None = None) -> None:
        self.cases = cases
        self.root = root
        self._clients: dict[str, SigningClient] = {}
        trio.run(partial(self._prepare, root))
        self._before = tables(root)
        settings = {
            f"CENTRAL_COMMAND__HTTP__{name.upper()}": str(value).lower() for name, value in (http or {}).items()
        }
        settings["CENTRAL_COMMAND__CONSENT__MODE"] = "required"  # what is recorded behind an answer would be a change
        settings |= {f"CENTRAL_COMMAND__SESSIONS__{name.upper()}": str(value) for name, value in SESSIONS.items()}
        self.server = ServerProcess(root, settings=settings)

    async def _prepare(self, root: Path) -> None:
        async with running(root, settings=settings_with(sessions=SESSIONS, consent={"mode": "required"})) as run:
            for name, case in self.cases.items():
                session_id = session_id_of(name)
                if case.envelope is not None:
                    self._clients[name] = await _session(run, session_id, case.envelope)
                if case.opening is not None and case.opening.is_open_already:
                    await run.open(session_id)
                if case.opening is not None:
                    for number in range(case.opening.machine_has_opened):
                        await _open_on_machine(run, f"{session_id}_{number}", session_id)

    def journals(self) -> Journals:
        """All bytes of the journals now; what was acknowledged is in them."""
        return journals(self.root)

    def bytes_of(self, name: str) -> Sent:
        """What a case sends."""
        return bytes_to_send(name, self.cases[name], self._clients)

    def exchange(self, name: str, sent: Sent) -> Received:
        """Send a case over a connection of its own, and see what comes.

        What is posted in good form is posted twice: a request whose head repeats that of one before it is read in
        another way (`central_command.http.connections.repeated`), and must be answered alike.
        """
        case = self.cases[name]
        is_reading = case.manner != "never_reading"
        with Wire(self.server.port, receive_buffer_bytes=None if is_reading else 4_096) as wire:
            if not is_reading:
                wire.wait_for_reset(sent.data)
                return Received((), "closed")
            before = None
            if case.is_posted and not case.expect.is_kept:
                wire.send(sent.data)
                before = next(iter(wire.answers(1)), None)
            wire.send(sent.data)
            if case.manner == "half_closed":
                wire.end_sending()
            if case.trickle is not None:
                wire.trickle(case.trickle)
            count = len(case.expect.earlier) + (case.expect.status is not None)
            received = wire.received(count, may_be_kept=case.expect.connection == "kept")
            return msgspec.structs.replace(received, before=before)

    def is_alive(self) -> bool:
        """Whether the server answers on a new connection."""
        return self.server.get("/health").status == 200

    def rows_changed(self) -> list[str]:
        """What differs in the databases from before the server started; it must have ended."""
        kept_of = frozenset(session_id_of(name) for name, case in self.cases.items() if case.expect.is_kept)
        return rows_changed(self._before, tables(self.root), kept_of=kept_of)


async def _session(run: Running, session_id: str, recipe: SignedEnvelope) -> SigningClient:
    if recipe.session == "never_opened":
        client = SigningClient(session_id)
        client.secret = os.urandom(32)
        return client
    client = await run.open(session_id)
    for kind in recipe.history:
        if kind == "http_close":
            assert isinstance(await run.service.close_session(session_id), Closed)
            continue
        body = client.chunk() if kind == "chunk" else client.close() if kind == "close" else client.feedback()
        client.sequence -= kind == "feedback"  # it does not move the server's
        assert isinstance(await run.send(body), Accepted)
    return client


async def _open_on_machine(run: Running, session_id: str, machine: str) -> None:
    fingerprint = hashlib.sha256(machine.encode()).hexdigest()
    opening = SigningClient(session_id).opening(machine_fingerprint=fingerprint)
    assert isinstance(await run.service.open_session(OpenSession(**opening)), Opened)

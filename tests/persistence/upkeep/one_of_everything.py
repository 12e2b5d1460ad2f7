"""What a service leaves behind, one of everything."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from actors.sessions.outcomes import Accepted
from tests.running_service import Running, running, settings_with
from tests.signing_client import APP_HASH, SigningClient, dumps

DAY_S = 86_400


async def leave(root: Path, *fills: Callable[[Running], Awaitable[None]]) -> None:
    """Run a service, let each of `fills` leave something, and stop it in order."""
    async with running(root, settings=settings_with(sessions={"sequence_gaps": "accept"})) as service:
        for each in fills:
            await each(service)
        await service.projected()


async def fill(service: Running) -> None:
    """Leave one of everything: closed in each way, open, refused, a gap, feedback early and late, two days."""
    told = await service.open("sess_told")
    await service.send(told.chunk(5))
    await service.send(told.feedback("modified", sequence=1))
    await service.send(told.chunk_of([told.step(kind="edit", token_count=-1)]))
    assert isinstance(await service.send(told.chunk(2, sequence=5, model_engine="o4-mini")), Accepted)
    assert isinstance(await service.send(told.close(sequence=6)), Accepted)
    await service.send(told.feedback("accepted", sequence=7))
    service.clock.now += DAY_S
    by_http = await service.open("sess_http", contributor_id="f" * 32)
    await service.send(
        by_http.chunk_of([by_http.step(kind="resolution", content="lone \ud83d".encode("utf-8", "replace").decode())])
    )
    await service.service.close_session("sess_http")
    unused = await service.open("sess_unused")
    await service.service.close_session(unused.session_id)
    still_open = await service.open("sess_open")
    await service.send(still_open.chunk(1))


async def fill_with_oddities(service: Running) -> None:
    """Leave what is rare and right: bodies that other clients write, chunks out of order, sessions that are left."""
    odd = await service.open("sess_odd", contributor_id="A1" * 16)
    log = [odd.step(kind=kind, content='lone \ud83d, 1e400, "received":{"n":1}') for kind in ("error", "resolution")]
    log += [odd.step(kind="delegate", to="b"), odd.step(kind="coordination", arguments={"from": "b"}, tool="send")]
    bodies = [
        _chunk(odd, 7, log, ascii_only=True),
        _chunk(odd, 2, [odd.step(kind="correction")], model_engine="o4-mini", id_last=True),
        _chunk(odd, 2, [odd.step(kind="correction")] * 2, own_id=None, spaced=True),
        _chunk(odd, 9, [{**odd.step(), "step": 1}], id_last=True, spaced=True, metadata={"task_complexity": "heavy"}),
        odd.feedback("rejected"),
        odd.close(),
        odd.feedback("iterated"),
    ]
    for body in bodies:
        assert isinstance(await service.send(body), Accepted), body
    for session_id in ("sess_left_1", "sess_left_2"):
        left = await service.open(session_id)
        assert isinstance(await service.send(left.chunk_of([left.step(type="thought", step=5)])), Accepted)
    service.clock.now += 2 * DAY_S
    assert await service.service.ends.close_abandoned() >= 2


def _chunk(
    client: SigningClient,
    chunk_sequence: int,
    log: list[dict[str, Any]],
    *,
    own_id: str | None = "env_own",
    id_last: bool = False,
    spaced: bool = False,
    ascii_only: bool = False,
    metadata: dict[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    """A chunk, written and signed as some other client may."""
    noted = {} if own_id is None else {"envelope_id": own_id}
    members: dict[str, Any] = {} if id_last else dict(noted)
    members |= {"session_id": client.session_id, "contributor_id": client.contributor_id}
    members |= {"chunk_sequence": chunk_sequence, "metadata": client.metadata(**(metadata or {}), **changes)}
    members |= {"trajectory_log": log} | (noted if id_last else {})

    def text_of(value: object) -> str:
        if spaced:
            return json.dumps(value, ensure_ascii=ascii_only)
        return json.dumps(value, separators=(",", ":")) if ascii_only else dumps(value)

    attestation = {"session_hmac": client.sign(text_of(members), client.sequence), "sequence": client.sequence}
    client.sequence += 1
    before_last, last = list(members.items())[:-1], list(members.items())[-1:]
    return text_of(dict([*before_last, ("attestation", attestation | {"app_version_hash": APP_HASH}), *last])).encode()

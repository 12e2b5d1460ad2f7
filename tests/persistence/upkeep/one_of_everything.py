"""What a service leaves behind, one of everything."""

from actors.sessions.outcomes import Accepted
from tests.running_service import Running

DAY_S = 86_400


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

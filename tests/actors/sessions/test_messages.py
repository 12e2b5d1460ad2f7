"""A request carries one answer, to one who may have gone."""

import trio
from trio.testing import wait_all_tasks_blocked

from actors.sessions.messages import Finish, OpenSession, Request
from actors.sessions.outcomes import ActorFailed, UnknownSession


async def test_the_first_answer_counts() -> None:
    request: Request[object] = Request(Finish())
    states = [request.is_filled]
    request.fill(UnknownSession())
    request.fill(ActorFailed())
    states.append(request.is_filled)
    assert states == [False, True]
    assert await request.wait() == UnknownSession()


async def test_whoever_waits_is_woken_by_the_answer() -> None:
    request: Request[object] = Request(Finish())
    outcomes: list[object] = []

    async def wait() -> None:
        outcomes.append(await request.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert outcomes == []
        request.fill(ActorFailed())
    assert outcomes == [ActorFailed()]


async def test_an_answer_to_one_who_has_gone_is_no_error() -> None:
    request: Request[object] = Request(Finish())
    with trio.move_on_after(0):
        await request.wait()
    request.fill(ActorFailed())
    assert request.is_filled


def test_its_repr_names_the_message_and_nothing_in_it() -> None:
    opening = OpenSession(
        session_id="sess_1",
        public_key="key",
        provider="codex",
        model="gpt-5.5",
        machine_fingerprint="secret machine",
        app_version_hash="b" * 64,
        groove_version="0.27.115",
    )
    request: Request[object] = Request(opening)
    assert repr(request) == "<Request OpenSession waiting>"
    request.fill(ActorFailed())
    assert repr(request) == "<Request OpenSession answered>"

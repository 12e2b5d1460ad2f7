"""Many at once, on the mock clock: nobody takes another's turn, and what cannot be done in time is refused at once."""

import itertools
from typing import Any

import trio

from actors.embedding.embedding import Embedded, Unavailable, UnavailableReason
from tests.actors.embedding.conftest import BLOCKED, Asked, vector_of

FLOODING, MODEST = "192.0.2.66", "192.0.2.7"


async def flood(fixture: Any, number: int, waits_s: list[float]) -> None:
    """One connection that asks for list after list, at once again when it is answered."""
    for count in itertools.count():
        asked_at = trio.current_time()
        texts = [f"{number}/{count}/{text}".ljust(120, "x") for text in range(24)]
        outcome = await fixture.embed(texts, FLOODING, 10.0)
        waits_s.append(trio.current_time() - asked_at)
        if isinstance(outcome, Unavailable):
            await trio.sleep(0.01)


async def test_beside_a_flood_each_text_of_a_starting_client_waits_for_two_batches_at_most(
    running: Any, autojump_clock: Any
) -> None:
    """And its own. Six connections ask without a pause; the client asks for its texts one after the other."""
    batch_s = 0.25
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.token_s = batch_s / 512
        flooded_s: list[float] = []
        for number in range(6):
            nursery.start_soon(flood, fixture, number, flooded_s)
        await trio.sleep(20)
        waited_s = []
        for number in range(46):
            asked_at = trio.current_time()
            outcome = await fixture.embed([f"what domain {number} is about"], MODEST, 10.0)
            assert isinstance(outcome, Embedded)
            waited_s.append(trio.current_time() - asked_at)
        nursery.cancel_scope.cancel()
    assert max(waited_s) <= 3 * batch_s
    assert max(flooded_s) <= 10.0
    statistics = fixture.embeddings.statistics()
    assert statistics.refused_for_time > 0
    assert statistics.expired == 0
    assert statistics.tokens / statistics.batches > 350  # batches of several addresses are full


async def test_what_cannot_be_done_in_time_is_refused_at_once_and_can_be_when_it_was_told(
    running: Any, autojump_clock: Any
) -> None:
    """The client is told after how long. Somebody else's text, and his own single one, come through meanwhile."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.token_s = 1 / 500
        asked = Asked(nursery, fixture)
        await fixture.embed(["x" * 500])
        for number in range(6):
            await asked.ask(str(number) * 500)
        began_at = trio.current_time()
        texts = [letter * 500 for letter in "abcdef"]
        refused = await fixture.embed(texts, timeout_s=10.0)
        assert trio.current_time() == began_at
        assert isinstance(refused, Unavailable)
        assert refused.reason is UnavailableReason.NO_TIME
        assert refused.retry_after_s is not None
        assert 3 <= refused.retry_after_s <= 6
        assert len(fixture.engine.tokenised) == 8
        for address in ("192.0.2.1", MODEST):
            assert isinstance(await fixture.embed([f"health check of {address}"], address, 5.0), Embedded)
        await trio.sleep(began_at + refused.retry_after_s - trio.current_time())
        assert isinstance(await fixture.embed(texts, timeout_s=10.0), Embedded)
        assert fixture.embeddings.statistics().refused_for_time == 1


async def test_before_anything_was_measured_nobody_is_refused_for_time(running: Any, autojump_clock: Any) -> None:
    """Who then waits in vain leaves the queue when his client has gone."""
    async with running() as fixture:
        fixture.threads.durations_s.extend([1.0] * 100)
        outcome = await fixture.embed([letter * 500 for letter in "abcdef"], timeout_s=3.5)
        assert outcome == Unavailable(UnavailableReason.NO_TIME)
        statistics = fixture.embeddings.statistics()
        assert (statistics.expired, statistics.refused, statistics.waiting, statistics.dropped) == (1, 0, 0, 2)
        await trio.sleep(5)
        assert len(fixture.engine.batches) == 4


async def test_whoever_goes_away_takes_his_texts_out_of_the_queue_at_once(running: Any, autojump_clock: Any) -> None:
    """Not only when their turn comes: others are let in by what really waits."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.append(100.0)
        asked = Asked(nursery, fixture)
        await asked.ask("running")
        gone = await asked.ask(*(str(number) for number in range(60)))
        await asked.ask("stays")
        statistics = fixture.embeddings.statistics()
        assert (statistics.waiting, statistics.pending, statistics.waiting_addresses) == (61, 62, 1)
        asked.scopes[gone].cancel()
        await BLOCKED()
        statistics = fixture.embeddings.statistics()
        assert (statistics.waiting, statistics.pending, statistics.dropped) == (1, 2, 60)
        nursery.cancel_scope.cancel()


async def test_the_statistics_tell_how_many_addresses_wait(running: Any, autojump_clock: Any) -> None:
    """Those whose texts are computed already do not."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.append(100.0)
        for number in range(4):
            nursery.start_soon(fixture.embed, [f"text {number}"], f"192.0.2.{number}")
            await BLOCKED()
        statistics = fixture.embeddings.statistics()
        assert (statistics.waiting, statistics.waiting_addresses) == (3, 3)
        nursery.cancel_scope.cancel()


async def test_many_clients_that_start_at_once_behind_one_address_all_come_through(
    running: Any, autojump_clock: Any
) -> None:
    """Beside a flood from another address and one from their own; each text of theirs is computed once."""
    texts = ["health check", *(f"what domain {number} is about" for number in range(45))]
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.token_s = 0.25 / 512
        outcomes = []

        async def start() -> None:
            for text in texts:
                outcome = await fixture.embed([text], MODEST, 5.0)
                outcomes.append(outcome)

        async def bulk() -> None:
            for count in itertools.count():
                await fixture.embed([f"{count}/{text}".ljust(120, "y") for text in range(64)], MODEST, 60.0)

        for number in range(6):
            nursery.start_soon(flood, fixture, number, [])
        nursery.start_soon(bulk)
        await trio.sleep(10)
        async with trio.open_nursery() as starting:
            for _ in range(40):
                starting.start_soon(start)
        nursery.cancel_scope.cancel()
    assert len(outcomes) == 40 * 46
    assert all(isinstance(outcome, Embedded) for outcome in outcomes)
    assert sum(outcome.computed for outcome in outcomes) == 46


async def test_an_address_that_fills_its_bound_leaves_room_for_others(running: Any, autojump_clock: Any) -> None:
    """Of texts and of requests."""
    async with running(pending_inputs_max=256, address_inputs_max=64) as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.append(100.0)
        asked = Asked(nursery, fixture)
        for _ in range(64):
            await asked.ask("the same")
        assert await fixture.embed(["the same"]) == Unavailable(UnavailableReason.QUEUE_FULL)
        await asked.ask("the same", address=MODEST)
        assert len(asked.outcomes) == 0
        nursery.cancel_scope.cancel()


async def test_a_long_list_goes_through_the_queue_in_pieces(running: Any, autojump_clock: Any) -> None:
    """Never more than 64 of its texts wait, whatever the bound; the answers are in its order."""
    texts = [f"text {number:04}" for number in range(2_048)]
    waiting: list[int] = []
    async with running(address_inputs_max=64, pending_inputs_max=128) as fixture:
        fixture.threads.token_s = 0.001

        async def watch() -> None:
            while True:
                waiting.append(fixture.embeddings.statistics().pending)
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            outcome = await fixture.embed(texts)
            nursery.cancel_scope.cancel()
        assert [embedding.float32 for embedding in outcome.embeddings] == [vector_of(text) for text in texts]
        assert outcome.computed == 2_048
        assert 0 < max(waiting) <= 64


async def test_beside_a_long_list_a_short_text_of_the_same_address_does_not_wait_for_it(
    running: Any, autojump_clock: Any
) -> None:
    """As beside any other bulk load."""
    async with running() as fixture:
        fixture.threads.token_s = 0.001
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fixture.embed, [f"text {number:04}" for number in range(1_000)])
            await trio.sleep(1)
            asked_at = trio.current_time()
            assert isinstance(await fixture.embed(["short"]), Embedded)
            assert trio.current_time() - asked_at < 2
            nursery.cancel_scope.cancel()


async def test_a_list_waits_between_its_pieces_for_room_that_others_have_taken(
    running: Any, autojump_clock: Any
) -> None:
    """What was computed is not thrown away for that. A request that has nothing yet is refused at once."""
    async with running(address_inputs_max=64, pending_inputs_max=128) as fixture:
        fixture.threads.token_s = 0.001
        outcomes: list[Any] = []

        async def ask_list() -> None:
            outcomes.append(await fixture.embed([f"text {number:03}" for number in range(130)]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fixture.embed, [f"{number:0500}" for number in range(32)], "192.0.2.2")
            await BLOCKED()
            nursery.start_soon(ask_list)
            await BLOCKED()
            assert await fixture.embed(["x", "y"]) == Unavailable(UnavailableReason.QUEUE_FULL)
            for number in range(10):
                nursery.start_soon(fixture.embed, [f"{number:0501}"], f"198.51.100.{number}")
        assert [type(outcome) for outcome in outcomes] == [Embedded]
        assert fixture.embeddings.statistics().refused > 1  # between its pieces, and it came back


async def test_a_list_that_takes_longer_than_its_client_waits_is_refused_at_once(
    running: Any, autojump_clock: Any
) -> None:
    """The whole of it counts, not only the piece that waits."""
    async with running() as fixture:
        fixture.threads.token_s = 0.005
        await fixture.embed(["x" * 500])
        asked_at = trio.current_time()
        texts = [f"text {number:04}" for number in range(640)]
        refused = await fixture.embed(texts, timeout_s=15)
        assert refused.reason is UnavailableReason.NO_TIME
        assert refused.retry_after_s > 5
        assert trio.current_time() == asked_at
        assert isinstance(await fixture.embed(texts, timeout_s=200), Embedded)

"""The nursery on a fake engine, on the mock clock."""

import math
from functools import partial
from itertools import chain
from struct import unpack_from
from typing import Any
from zlib import crc32

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.embedding.embedding import Embedded, Unavailable, UnavailableReason, UnknownToken
from actors.embedding.engine import ModelError
from actors.embedding.nursery import State
from tests.actors.embedding.conftest import BLOCKED, Asked, vector_of


def first_number(text: str) -> float:
    """The first number of the fake engine's vector for a text."""
    return float(crc32(text.encode()) % 2**24)


def numbers(outcome: Any) -> list[float]:
    """The first number of each embedding."""
    assert isinstance(outcome, Embedded), outcome
    return [unpack_from("<f", embedding.float32)[0] for embedding in outcome.embeddings]


async def test_a_text_is_embedded_at_once_when_the_engine_is_idle(running: Any, autojump_clock: Any) -> None:
    """No timer: no time passes on the clock."""
    async with running() as fixture:
        began_at = trio.current_time()
        outcome = await fixture.embed(["hello"])
        assert numbers(outcome) == [first_number("hello")]
        assert outcome.tokens == 5
        assert trio.current_time() == began_at


async def test_the_answers_of_a_list_are_in_its_order_although_batches_are_by_length(
    running: Any, autojump_clock: Any
) -> None:
    """Also when the same text stands in the list twice."""
    texts = ["long" * 50, "b", "long" * 49, "a", "b"]
    async with running() as fixture:
        assert numbers(await fixture.embed(texts)) == [first_number(text) for text in texts]
        assert sorted(chain.from_iterable(fixture.engine.batches)) == sorted(set(texts))


async def test_what_comes_while_a_batch_runs_is_tokenised_meanwhile_and_makes_the_next_batch(
    running: Any, autojump_clock: Any
) -> None:
    """All of it, when the bounds allow."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.extend([1.0, 1.0, 1.0])
        asked = Asked(nursery, fixture)
        for text in ("first", "second", "third", "fourth", "fifth"):
            await asked.ask(text)
        assert len(fixture.engine.tokenised) == 5
        assert fixture.embeddings.statistics().waiting == 4
        await trio.sleep(10)
        first, second = fixture.engine.batches
        assert first == ["first"]
        assert sorted(second) == ["fifth", "fourth", "second", "third"]
        assert len(asked.outcomes) == 5


async def test_a_cached_text_needs_no_engine(running: Any, autojump_clock: Any) -> None:
    """Not even one that is loaded."""
    async with running() as fixture:
        first = await fixture.embed(["hello"])
        again = await fixture.embed(["hello"])
        assert again.embeddings[0] is first.embeddings[0]
        assert fixture.engine.batches == [["hello"]]
    assert isinstance(await fixture.embed(["hello"]), Embedded)


async def test_identical_texts_under_way_are_computed_once(running: Any, autojump_clock: Any) -> None:
    """Both while they wait and while they are computed; and all get the answer."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.extend([1.0, 1.0])
        asked = Asked(nursery, fixture)
        for texts in (("a",), ("a",), ("b", "a"), ("b",)):
            await asked.ask(*texts)
        await trio.sleep(5)
        assert fixture.engine.batches == [["a"], ["b"]]
        assert numbers(asked.outcomes[2]) == [first_number("b"), first_number("a")]
        assert len(asked.outcomes) == 4


async def test_a_requester_that_has_gone_away_is_skipped(running: Any, autojump_clock: Any) -> None:
    """The others of its batch are computed, and its place is free again."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.append(1.0)
        asked = Asked(nursery, fixture)
        await asked.ask("running")
        gone = await asked.ask("gone")
        stays = await asked.ask("stays")
        asked.scopes[gone].cancel()
        await trio.sleep(2)
        assert fixture.engine.batches == [["running"], ["stays"]]
        assert numbers(asked.outcomes[stays]) == [first_number("stays")]
        statistics = fixture.embeddings.statistics()
        assert (statistics.dropped, statistics.pending) == (1, 0)


async def test_a_text_that_one_of_two_requesters_still_waits_for_is_computed(running: Any, autojump_clock: Any) -> None:
    """Also when the one that asked first is the one that went away."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.append(1.0)
        asked = Asked(nursery, fixture)
        await asked.ask("running")
        gone = await asked.ask("shared")
        stays = await asked.ask("shared")
        asked.scopes[gone].cancel()
        await trio.sleep(2)
        assert numbers(asked.outcomes[stays]) == [first_number("shared")]


async def test_going_away_while_its_batch_runs_harms_nobody(running: Any, autojump_clock: Any) -> None:
    """What was computed is kept."""
    async with running() as fixture, trio.open_nursery() as nursery:
        fixture.threads.durations_s.append(1.0)
        asked = Asked(nursery, fixture)
        await asked.ask("running")
        asked.scopes[0].cancel()
        await trio.sleep(2)
        await fixture.embed(["running"])
        assert fixture.engine.batches == [["running"]]


async def test_a_failing_batch_fails_its_own_requests_only(
    running: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is cached, and a retry is computed."""
    async with running(batch_inputs_max=2) as fixture, trio.open_nursery() as nursery:
        fixture.engine.failing = "bad"
        fixture.threads.durations_s.append(1.0)
        asked = Asked(nursery, fixture)
        for text in ("first", "bad", "good", "far longer than that" * 10):
            await asked.ask(text)
        await trio.sleep(2)
        assert isinstance(asked.outcomes[0], Embedded)
        assert asked.outcomes[1] == asked.outcomes[2] == Unavailable(UnavailableReason.ENGINE_FAILED)
        assert isinstance(asked.outcomes[3], Embedded)
        fixture.engine.failing = ""
        assert isinstance(await fixture.embed(["bad"]), Embedded)
        assert fixture.embeddings.statistics().batches_failed == 1
    assert "a batch of 2 texts failed" in caplog.text


async def test_a_text_that_cannot_be_tokenised_fails_alone(running: Any, autojump_clock: Any) -> None:
    """Its request fails; others go on."""
    async with running() as fixture:
        fixture.engine.untokenisable = "odd"
        assert await fixture.embed(["fine", "odd"]) == Unavailable(UnavailableReason.ENGINE_FAILED)
        assert isinstance(await fixture.embed(["fine"]), Embedded)


async def test_a_batch_that_takes_too_long_is_stopped_and_the_next_one_works(running: Any, autojump_clock: Any) -> None:
    """The same model goes on when the engine did stop."""
    async with running(batch_timeout_s=5) as fixture:
        fixture.threads.durations_s.append(math.inf)
        began_at = trio.current_time()
        assert await fixture.embed(["slow"]) == Unavailable(UnavailableReason.TIMED_OUT)
        assert trio.current_time() == began_at + 5
        assert isinstance(await fixture.embed(["next"]), Embedded)
        assert (fixture.engine.stops, fixture.loads) == (1, 1)


async def test_an_engine_that_hangs_is_left_behind_and_the_next_batch_gets_a_fresh_one(
    running: Any, autojump_clock: Any
) -> None:
    """What waited behind it is computed."""
    async with running(batch_timeout_s=5, stop_grace_s=1) as fixture, trio.open_nursery() as nursery:
        fixture.engine.ignores_stop = True
        fixture.threads.durations_s.append(math.inf)
        asked = Asked(nursery, fixture)
        await asked.ask("hangs")
        await asked.ask("waits")
        await trio.sleep(7)
        assert asked.outcomes[0] == Unavailable(UnavailableReason.TIMED_OUT)
        assert isinstance(asked.outcomes[1], Embedded)
        assert (fixture.loads, fixture.embeddings.statistics().hung) == (2, 1)
        assert fixture.embeddings.state is State.READY


async def test_at_the_bound_of_hung_batches_there_is_no_model_until_one_ends(running: Any, autojump_clock: Any) -> None:
    """No thread and no session is added without end."""
    async with running(batch_timeout_s=5, stop_grace_s=1, hung_runs_max=2, load_retry_s=60) as fixture:
        fixture.engine.ignores_stop = True
        fixture.threads.durations_s.extend([100.0, 0.0, math.inf])
        for text in ("a", "b"):
            assert await fixture.embed([text]) == Unavailable(UnavailableReason.TIMED_OUT)
        await trio.sleep(2)
        assert await fixture.embed(["c"]) == Unavailable(UnavailableReason.NO_MODEL)
        assert fixture.embeddings.state is State.FAILED
        assert fixture.embeddings.detail.startswith("2 batches hang")
        await trio.sleep(200)
        assert isinstance(await fixture.embed(["c"]), Embedded)


async def test_a_full_queue_is_refused_and_has_room_again(running: Any, autojump_clock: Any) -> None:
    """A request is taken whole or not at all; what is known or under way takes no room."""
    async with running(address_inputs_max=64) as fixture, trio.open_nursery() as nursery:
        await fixture.embed(["known"])
        fixture.threads.durations_s.append(1.0)
        asked = Asked(nursery, fixture)
        await asked.ask("running")
        await asked.ask(*map(str, range(62)))
        assert await fixture.embed(["x", "y"]) == Unavailable(UnavailableReason.QUEUE_FULL)
        last = await asked.ask("x", "running", "known", "5")
        assert await fixture.embed(["y"]) == Unavailable(UnavailableReason.QUEUE_FULL)
        assert isinstance(await fixture.embed(["known"]), Embedded)
        await trio.sleep(2)
        assert isinstance(asked.outcomes[last], Embedded)
        assert isinstance(await fixture.embed(["x", "y"]), Embedded)
        assert fixture.embeddings.statistics().refused == 2


async def test_while_the_model_loads_texts_are_refused(running: Any, autojump_clock: Any) -> None:
    """And nothing waits for it."""
    async with running(load_s=10) as fixture:
        assert fixture.embeddings.state is State.LOADING
        assert await fixture.embed(["a"]) == Unavailable(UnavailableReason.LOADING)
        await trio.sleep(11)
        assert isinstance(await fixture.embed(["a"]), Embedded)


async def test_a_model_that_cannot_be_loaded_says_why_and_is_tried_again_ever_more_rarely(
    running: Any, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The same reason is logged once."""
    errors = [ModelError("It is broken."), ModelError("It is broken."), ValueError("/a/path")]
    async with running(load_errors=errors, load_retry_s=60) as fixture:
        assert (fixture.embeddings.state, fixture.embeddings.detail) == (State.FAILED, "It is broken.")
        assert await fixture.embed(["a"]) == Unavailable(UnavailableReason.NO_MODEL)
        await trio.sleep(61)
        assert fixture.loads == 2
        await trio.sleep(121)
        assert fixture.loads == 3
        assert "path" not in fixture.embeddings.detail
        await trio.sleep(241)
        assert fixture.embeddings.detail == "ok"
        assert isinstance(await fixture.embed(["a"]), Embedded)
    assert caplog.text.count("It is broken.") == 1


@pytest.mark.parametrize(("ignores_stop", "takes_s"), [(False, 0), (True, 1)])
async def test_shutdown_with_a_batch_running_is_prompt(
    *, ignores_stop: bool, takes_s: float, running: Any, autojump_clock: Any
) -> None:
    """It is told to stop, waited for a little, and everybody is answered."""
    async with running(stop_grace_s=1) as fixture, trio.open_nursery() as nursery:
        fixture.engine.ignores_stop = ignores_stop
        fixture.threads.durations_s.append(math.inf)
        asked = Asked(nursery, fixture)
        await asked.ask("running")
        await asked.ask("waiting")
        began_at = trio.current_time()
        fixture.scope.cancel()
        await fixture.ended.wait()
        assert trio.current_time() == began_at + takes_s
        assert fixture.engine.stops == 1
        await BLOCKED()
        stopped = Unavailable(UnavailableReason.SHUTTING_DOWN)
        assert asked.outcomes == {0: stopped, 1: stopped}
        assert await fixture.embed(["late"]) == stopped


async def test_shutdown_while_the_model_loads_is_prompt(running: Any, autojump_clock: Any) -> None:
    """The load is told to stop, and left behind when it does not."""
    async with running(load_s=math.inf, stop_grace_s=1) as fixture:
        began_at = trio.current_time()
        fixture.scope.cancel()
        await fixture.ended.wait()
        assert trio.current_time() == began_at + 1


async def test_an_error_of_its_own_ends_embedding_and_nothing_else(
    running: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ingestion must not depend on embedding."""

    def broken(*_: Any) -> None:
        raise AssertionError("a bug")

    async with running() as fixture:
        monkeypatch.setattr("actors.embedding.nursery.next_batch", broken)
        assert isinstance(await fixture.embed(["a"]), Unavailable)
        await fixture.ended.wait()
        assert fixture.embeddings.state is State.FAILED
        assert await fixture.embed(["b"]) == Unavailable(UnavailableReason.NO_MODEL)


@settings(deadline=None, max_examples=50)
@given(
    requests=st.lists(
        st.tuples(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=8), st.floats(0, 3)), max_size=20
    ),
    batch_s=st.floats(0, 2),
)
def test_every_input_is_answered_once_in_its_own_order(
    requests: list[tuple[list[str], float]], batch_s: float, running: Any
) -> None:
    """However requests overlap: the right vector at each place, and no text computed twice."""

    async def check() -> None:
        async with running(batch_inputs_max=3) as fixture, trio.open_nursery() as nursery:
            fixture.threads.durations_s.extend([batch_s] * 200)

            async def ask(texts: list[str], after_s: float) -> None:
                await trio.sleep(after_s)
                assert numbers(await fixture.embed(texts)) == [first_number(text) for text in texts]

            for texts, after_s in requests:
                nursery.start_soon(partial(ask, texts, after_s))
            await trio.sleep(1_000)
            computed = list(chain.from_iterable(fixture.engine.batches))
            assert len(computed) == len(set(computed))
            assert all(len(batch) <= 3 for batch in fixture.engine.batches)
            assert fixture.embeddings.statistics().pending == 0

    trio.run(check, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_state_shows_in_its_repr(running: Any, autojump_clock: Any) -> None:
    """For the debugger."""
    async with running() as fixture:
        assert repr(fixture.embeddings) == "<EmbeddingNursery ready pending=0>"


async def test_tokens_are_embedded_as_their_text_is(running: Any, autojump_clock: Any) -> None:
    """They need no tokeniser, and are known by themselves afterwards; one that is none is named with its place."""
    tokens = tuple(map(ord, "abc"))
    async with running() as fixture:
        [embedding] = (await fixture.embed([tokens])).embeddings
        assert (embedding.float32, embedding.tokens) == (vector_of("abc"), 3)
        assert fixture.engine.tokenised == []
        assert (await fixture.embed(["other", tokens])).computed == 1
        assert await fixture.embed(["x", (1, 2), (5, 0)]) == UnknownToken(2, 0)
    async with running(load_s=5) as fixture:
        assert await fixture.embed([tokens]) == Unavailable(UnavailableReason.LOADING)

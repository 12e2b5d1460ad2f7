"""Each bad input of the corpus gets its answer from a real server, and leaves nothing behind."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.bad_input.corpus import all_cases
from tests.bad_input.judgement import complaints_of, complaints_of_writing
from tests.bad_input.target import IMPATIENT, Target
from tests.bad_input.wire import Received
from tests.crash.consistency import check_stored

CASES = all_cases()
ORDINARY = {name: case for name, case in CASES.items() if case.server == "ordinary"}
WAITED_FOR = {name: case for name, case in CASES.items() if case.server == "impatient"}


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server with its usual patience; at its end the databases hold what they held, and the dead letters."""
    target = Target(tmp_path_factory.mktemp("ordinary") / "data", ORDINARY)
    with target.server as server:
        yield target
        assert server.terminate() == 0
    assert target.rows_changed() == []
    check_stored(target.root)


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> dict[str, "Future[Received]"]:
    """What came of the cases that take their time, all at once."""
    target = Target(tmp_path_factory.mktemp("impatient") / "data", WAITED_FOR, http=IMPATIENT)
    before = target.journals()
    with target.server as server:
        with ThreadPoolExecutor(len(WAITED_FOR)) as threads:
            futures = {name: threads.submit(target.exchange, name, target.bytes_of(name)) for name in WAITED_FOR}
        assert target.is_alive()
        assert server.terminate() == 0
    assert target.journals() == before
    assert target.rows_changed() == []
    return futures


@pytest.mark.parametrize("name", ORDINARY)
def test_it_is_refused_and_leaves_nothing(name: str, ordinary: Target) -> None:
    """The answer, the connection and the journals are as the case says, and the server serves on."""
    before = ordinary.journals()
    sent = ordinary.bytes_of(name)
    found = complaints_of(CASES[name], ordinary.exchange(name, sent))
    found += complaints_of_writing(CASES[name], sent.body, before, ordinary.journals())
    assert found == []
    assert ordinary.is_alive()


@pytest.mark.parametrize("name", WAITED_FOR)
def test_it_is_not_waited_for(name: str, received: dict[str, "Future[Received]"]) -> None:
    """Slow and greedy clients are answered or cut off; nothing was written for any of them."""
    assert complaints_of(CASES[name], received[name].result()) == []


def test_the_corpus_is_large_enough() -> None:
    """At least 150 cases without those whose status is from 500 up by specification, and no two the same."""
    plain = [case for case in CASES.values() if case.expect.specified is None]
    assert len(plain) >= 150
    assert [what for what, count in Counter(case.what for case in CASES.values()).items() if count > 1] == []

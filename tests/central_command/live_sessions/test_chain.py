"""What goes on from a session, by the index of the corpus."""

from pathlib import Path
from typing import Any

from central_command.live_sessions.chain import IndexedChain
from persistence.format.layout import DataLayout
from tests.corpus_maker import session
from tests.indexed import put


def after(number: int, before: str, **members: Any) -> dict[str, Any]:
    line = session(number, **members)
    return line | {"metadata": {**line["metadata"], "continues_session": before}}


def test_the_sessions_of_the_same_contributor_that_name_it(tmp_path: Path) -> None:
    root = tmp_path / "data"
    put(root, session(0), after(1, "sess_0"), after(2, "sess_1"), after(3, "sess_0", contributor=2))
    chain = IndexedChain(DataLayout(root), 2.0)
    assert [chain.continued_by(f"sess_{number}") for number in range(4)] == [["sess_1"], ["sess_2"], [], []]


def test_without_an_index_nothing_is_known_to_go_on(tmp_path: Path) -> None:
    assert IndexedChain(DataLayout(tmp_path), 2.0).continued_by("sess_0") == []

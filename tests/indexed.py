"""A corpus with its index, kept up in process, for tests of search."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from central_command.curating.indexing import Indexing
from central_command.search.questions import Answer, Hit, Question
from central_command.search.searching import Searcher
from persistence.files.lock import single_curation
from persistence.settings.search import SearchSettings
from persistence.settings.storage import StorageSettings
from tests.corpus_maker import NOW, put_sessions

STORAGE = StorageSettings(free_bytes_min=0)


async def index_async(root: Path, embedded: Callable[[bytes], bytes] | None = None, **settings: Any) -> None:
    """Take in everything that there is."""
    indexing = Indexing(
        root,
        SearchSettings(**settings),
        STORAGE,
        embedded=embedded,
        clock=lambda: NOW,
        poll_interval_s=1.0,
    )
    with single_curation(root):
        await indexing.catch_up()


def index(root: Path, embedded: Callable[[bytes], bytes] | None = None, **settings: Any) -> None:
    """The same, of a test that is not async."""
    trio.run(partial(index_async, root, embedded, **settings))


def put(root: Path, *sessions: dict[str, Any], **settings: Any) -> None:
    """Put sessions into the corpus, and what there is into the index."""
    trio.run(put_sessions, root, list(sessions))
    index(root, **settings)


def ask(root: Path, q: str, *, limit: int = 50, cursor: str | None = None, **members: Any) -> Answer:
    """The answer to a question that can be answered."""
    settings = members.pop("settings", SearchSettings())
    vector = members.pop("vector", None)
    answer = Searcher(root, settings).answer(Question(q=q, **members), limit=limit, cursor=cursor, vector=vector)
    assert isinstance(answer, Answer), answer
    return answer


def found(root: Path, q: str, **members: Any) -> list[tuple[str, int | None]]:
    """The sessions and steps that are found, in order."""
    return [(hit.session_id, hit.step) for hit in ask(root, q, **members).hits]


def shown(hit: Hit) -> str:
    """A snippet with its marks in brackets."""
    return "".join(f"[{part.text}]" if part.hit else part.text for part in hit.snippet)

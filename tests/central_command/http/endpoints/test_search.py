"""`GET /api/search`: for who may read, within its bounds, and never an error of the server."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.embedding.embedding import DIMENSIONS, Embedded, Embedding, Unavailable, UnavailableReason
from actors.envelopes.settings import SchemaSettings
from central_command.http.app import create_app
from central_command.http.endpoints.search import SEARCH_PATH
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from central_command.search.desk import SearchDesk
from central_command.search.questions import Mode, Question, Refusal, Unable
from central_command.search.searching import Searcher
from persistence.settings.search import SearchSettings
from tests.actors.curation.trajectory_lines import prompt
from tests.central_command.http.description.test_openapi import check_described
from tests.corpus_maker import session
from tests.indexed import put
from tests.running_service import running, settings_with
from tests.submitted_texts import leave_token


class Asked:
    def __init__(self, client: Any, token: str) -> None:
        self.client = client
        self.token = token

    async def get(self, *, token: str | None = None, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        answer = await self.client.get(f"{SEARCH_PATH}?{urlencode(arguments, doseq=True)}", headers=headers)
        body = await answer.get_data()
        own = {name: answer.headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer.headers}
        check_described("get", SEARCH_PATH, Reply(answer.status_code, body, tuple(own.items())))
        return answer.status_code, json.loads(body)


@asynccontextmanager
async def serving(root: Path, scope: str = "read", **search: Any) -> AsyncIterator[Asked]:
    async with running(root, settings=settings_with(search=search)) as run:
        token, _ = leave_token(run.root, scope, now=run.clock.now)
        app = create_app(
            run.service,
            HttpSettings(),
            schema=SchemaSettings(),
            clock=run.clock,
            search=run.service.desks.search(),
        )
        yield Asked(app.test_client(), token)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    put(root, *(session(number, [prompt(f"look for needle {number}")] * 2) for number in range(3)))
    return root


async def test_hits_name_session_and_step_and_mark_the_words(root: Path) -> None:
    async with serving(root) as asked:
        status, page = await asked.get(q="needle", limit=4, order="newest")
        assert status == 200
        assert [(hit["session_id"], hit["step"]) for hit in page["hits"]] == [
            ("sess_2", 2),
            ("sess_2", 1),
            ("sess_1", 2),
            ("sess_1", 1),
        ]
        assert page["hits"][0]["snippet"] == [
            {"text": "look for ", "hit": False},
            {"text": "needle", "hit": True},
            {"text": " 2", "hit": False},
        ]
        assert "contributor_id" not in page["hits"][0]
        status, rest = await asked.get(q="needle", limit=4, order="newest", cursor=page["cursor"])
        assert [hit["session_id"] for hit in rest["hits"]] == ["sess_0", "sess_0"]
        assert rest["cursor"] is None
        status, chosen = await asked.get(q="needle", provider=["codex", "claude-code"], before="2026-11-02")
        assert {hit["session_id"] for hit in chosen["hits"]} == {"sess_0"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "q, what is looked for, is missing"),
        ({"q": '"open'}, "does not close"),
        ({"q": ["a", "b"]}, "q may be given once"),
        ({"q": "a", "colour": "red"}, "There is no argument 'colour'"),
        ({"q": "a", "mode": "magic"}, "mode is 'magic'; it must be one of text, semantic, hybrid."),
        ({"q": "a", "order": "best"}, "order is 'best'; it must be one of relevance, newest."),
        ({"q": "a", "before": "2026-13-45"}, "before is '2026-13-45', which is no time that there is."),
        ({"q": "a", "after": "yesterday"}, "no time"),
        ({"q": "a", "limit": "101"}, "limit must be a whole number from 1 to 100"),
        ({"q": "a", "cursor": "made-up"}, "The cursor is none of this search"),
        ({"q": "a", "tool": ["t"] * 70}, "more than 64 values"),
        ({"q": "a", "tool": "t" * 1_001}, "longer than 1,000 characters"),
        ({"q": "a" * 1_001}, "longer than 1,000 characters"),
    ],
)
async def test_what_cannot_be_asked_is_400_in_one_sentence(
    root: Path, arguments: dict[str, Any], sentence: str
) -> None:
    async with serving(root) as asked:
        status, body = await asked.get(**arguments)
        assert status == 400
        assert sentence in body["error"]


async def test_only_a_token_for_reading_is_let_in(root: Path) -> None:
    async with serving(root, "export") as asked:
        assert (await asked.get(q="needle"))[0] == 403
        assert (await asked.get(q="needle", token="cc_" + "x" * 43))[0] == 401


async def test_without_an_index_and_without_embeddings_the_answer_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as asked:
        assert (await asked.get(q="needle"))[0] == 503
        status, body = await asked.get(q="needle", mode="semantic")
        assert status == 501
        assert "search.semantic" in body["error"]


async def test_a_damaged_index_is_503(root: Path) -> None:
    (root / "search.db").write_bytes(b"no database " * 1_000)
    async with serving(root) as asked:
        assert (await asked.get(q="needle"))[0] == 503


def test_no_text_is_an_error_of_the_server(root: Path) -> None:
    searcher = Searcher(root, SearchSettings())

    @given(st.text(max_size=80) | st.text(alphabet='needl"*-() OR', max_size=40))
    @settings(max_examples=50, deadline=None)
    def asked(text: str) -> None:
        try:
            question = Question(q=text)
        except ValueError:
            return
        answer = searcher.answer(question, limit=3)
        assert not isinstance(answer, Refusal) or answer.code is Unable.NOT_READABLE

    asked()


async def test_no_more_wait_than_may(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = trio.Event()

    async def waits(*_: object, **__: object) -> Refusal:
        await may_end.wait()
        return Refusal(Unable.BUSY, "")

    desk = SearchDesk(Searcher(root, SearchSettings()), SearchSettings(concurrency_max=1, waiting_max=1), None)
    monkeypatch.setattr(trio.to_thread, "run_sync", waits)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: desk.ask(Question(q="needle"), limit=1, cursor=None, address=""))
        await trio.testing.wait_all_tasks_blocked()
        refused = await desk.ask(Question(q="needle"), limit=1, cursor=None, address="")
        assert isinstance(refused, Refusal)
        assert "Too many searches" in refused.sentence
        may_end.set()


async def test_a_query_is_embedded_by_the_nursery_and_may_have_to_come_back(root: Path) -> None:
    class Nursery:
        outcome: Embedded | Unavailable = Unavailable(UnavailableReason.LOADING)

        async def embed(self, inputs: Any, *, address: str, timeout_s: float) -> Embedded | Unavailable:
            assert (inputs, address, timeout_s) == (["needle"], "there", 2.0)
            return self.outcome

    nursery, found = Nursery(), SearchSettings(semantic=True)
    desk = SearchDesk(Searcher(root, found), found, nursery)

    async def ask() -> Any:
        return await desk.ask(Question(q="needle", mode=Mode.SEMANTIC), limit=5, cursor=None, address="there")

    refused = await ask()
    assert isinstance(refused, Refusal)
    assert refused.code is Unable.BUSY
    pytest.importorskip("numpy")
    nursery.outcome = Embedded((Embedding(bytes(4 * DIMENSIONS), 1),))
    assert (await ask()).hits == []

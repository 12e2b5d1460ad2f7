"""`/api/corpus`: pages for who has a token of the scope, and what `open_corpus` makes of them."""

import gzip
import json
import threading
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from central_command.corpus import NotServedError, Trajectory, open_corpus, paging
from central_command.corpus.paging import Line
from central_command.corpus.served import Server
from central_command.corpus.stored import StoredCorpus
from central_command.http.requests.replies import Reply
from persistence.files.failures import StorageFailure
from persistence.files.file_system import OsFileSystem
from persistence.format.layout import DataLayout
from persistence.format.records import JournalName, Position
from persistence.journals.erasure_register import ErasureRegister, ErasureSubject, digest_of, register_path
from persistence.journals.reading import JournalOutOfReach
from persistence.journals.stored import StoredJournal
from tests.central_command.http.description.test_openapi import DOCUMENT, check_described, faults
from tests.central_command.http.endpoints.test_exports import Asked, serving
from tests.corpus_maker import put_sessions, put_texts, session, summed, take_back, text
from tests.submitted_texts import leave_token

TRAJECTORIES = "/api/corpus/trajectories"
RECORDS = "/api/corpus/records"
LINE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


async def page(server: Asked, path: str = TRAJECTORIES, **arguments: Any) -> tuple[list[str], str | None]:
    """The sessions of a page, and its cursor; each line is what the description says."""
    answer = await server.send("get", f"{path}?{urlencode(arguments, doseq=True)}")
    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson")
    lines = answer.body.splitlines()
    for line in lines:
        assert faults({"$ref": "#/components/schemas/CorpusLine"}, json.loads(line)) == []
    *items, last = [LINE.decode(line) for line in lines]
    assert last.end is not None
    return [(each.trajectory or each.record).session_id for each in items], last.end.cursor  # type: ignore[union-attr] # one of them


async def test_titles_and_summaries_stand_beside_the_trajectories_that_have_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await summed(tmp_path, "Mend the parser", ["sess_1"])
        assert (await page(server))[1] is None, "each line is as it is described"
        answer = await server.send("get", TRAJECTORIES)
        found = {each["trajectory"]["session_id"]: each for each in map(json.loads, answer.body.splitlines()[:-1])}
        assert found["sess_1"].keys() == {"trajectory", "title", "summary"}
        assert (found["sess_1"]["title"], found["sess_1"]["summary"]) == ("Mend the parser", "About Mend the parser.")
        assert found["sess_0"].keys() == found["sess_2"].keys() == {"trajectory"}


async def pages(server: Asked, path: str = TRAJECTORIES, **arguments: Any) -> list[list[str]]:
    found, cursor = [], None
    while True:
        sessions, cursor = await page(server, path, **arguments, **({"cursor": cursor} if cursor else {}))
        found.append(sessions)
        if cursor is None:
            return found


def names(*numbers: int) -> list[str]:
    return [f"sess_{number}" for number in numbers]


async def test_a_corpus_is_read_in_pages_each_record_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await pages(server) == [names(0, 1, 2)]
        assert await pages(server, limit=2) == [names(0, 1), names(2)]
        assert await pages(server, limit=1, model=["GPT*", "claude-*"], after="2026-11-02T00:00:00Z") == [
            names(1),
            names(2),
            [],
        ]
        assert await pages(server, tier=["C", "none"]) == [[]]


async def test_what_is_erased_or_taken_back_between_pages_is_gone(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await put_sessions(tmp_path, [session(number, contributor=2) for number in (3, 4)])
        first, cursor = await page(server, limit=1)
        register = ErasureRegister(register_path(DataLayout(tmp_path)), OsFileSystem(), lambda: 1.0)
        register.ask(ErasureSubject.CONTRIBUTOR, digest_of(ErasureSubject.CONTRIBUTOR, f"{2:032x}"))
        await take_back(tmp_path, 1)
        assert (first, (await page(server, cursor=cursor))[0]) == (names(0), names(2))


async def test_what_is_made_anew_between_pages_comes_once(tmp_path: Path) -> None:
    """As for feedback that comes late: its line is the last one then."""
    async with serving(tmp_path) as server:
        first, cursor = await page(server, limit=1)
        accepted = [{"signal": "accepted", "timestamp": 1_795_169_600}]
        await put_sessions(tmp_path, [session(number, feedback=accepted) for number in (0, 1)])
        assert (first, (await page(server, cursor=cursor))[0]) == (names(0), names(1, 2))


async def test_nothing_is_left_out_of_a_page_because_its_archive_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> bytes:
        raise JournalOutOfReach(JournalName.CORPUS, "the archive is not there")

    async with serving(tmp_path) as server:
        with monkeypatch.context() as patch:
            patch.setattr(StoredJournal, "read_now", away)
            answer = await server.send("get", TRAJECTORIES)
        assert answer.status_code == 503, answer.body
        assert await pages(server) == [names(0, 1, 2)]


async def test_records_of_the_intake_have_pages_of_their_own(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await put_texts(tmp_path, [text(number, "I said it") for number in range(3)])
        assert await pages(server, RECORDS, limit=2, text="SAID") == [["app_0", "app_1"], ["app_2"]]
        answer = await server.send("get", f"{RECORDS}?tier=A")
        assert (answer.status_code, "no argument 'tier'" in json.loads(answer.body)["error"]) == (400, True)


async def test_a_page_ends_by_what_was_read_and_names_what_is_too_long_to_be_read(tmp_path: Path) -> None:
    async with serving(tmp_path, page_bytes_max=1) as server:
        assert await pages(server) == [names(0), names(1), names(2), []]
    async with serving(tmp_path, page_line_bytes_max=1) as server:
        answer = await server.send("get", TRAJECTORIES)
        (line,) = answer.body.splitlines()
        end = LINE.decode(line).end
        assert end is not None
        assert (end.cursor, len(end.too_long)) == (None, 3)


async def test_a_page_that_cannot_be_read_to_its_end_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be read at all, there is no page."""
    monkeypatch.setattr(paging, "PIECE_BYTES_MAX", 1)
    whole = StoredCorpus.read
    readable = [1]

    def read(self: StoredCorpus, place: Position) -> Any:
        if not readable:
            raise StorageFailure("reading the corpus journal failed: Input/output error")
        readable.pop()
        return whole(self, place)

    monkeypatch.setattr(StoredCorpus, "read", read)
    async with serving(tmp_path) as server:
        answer = await server.send("get", TRAJECTORIES)
        (line,) = answer.body.splitlines()
        assert (answer.status_code, LINE.decode(line).end) == (200, None)
        answer = await server.send("get", TRAJECTORIES)
        assert (answer.status_code, "cannot be read now" in json.loads(answer.body)["error"]) == (503, True)


async def test_a_page_is_packed_for_who_takes_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        headers = {"Authorization": f"Bearer {server.token}", "Accept-Encoding": "gzip"}
        answer = await server.client.get(TRAJECTORIES, headers=headers)
        assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
        plain = await server.send("get", TRAJECTORIES)
        assert gzip.decompress(await answer.get_data()) == plain.body
        assert "no-store" in plain.headers["Cache-Control"]


REFUSED = (
    ("colour=red", "There is no argument 'colour'; there are cursor, limit, after,"),
    ("limit=0", "limit must be a whole number from 1 to 500."),
    ("limit=501", "limit must be a whole number from 1 to 500."),
    (f"limit={'9' * 400}", "limit must be a whole number from 1 to 500."),
    ("cursor=made-up", "The cursor is none of this reading"),
    (f"cursor={'A' * 5_000}", "longer than 1,000 characters"),
    ("cursor=", "The cursor is none of this reading"),
    ("after=2026-13-45", "after is '2026-13-45', which is no time that there is."),
    ("before=yesterday", "before is 'yesterday', which is no time"),
    ("tier=Z", "There is no tier 'Z'; there are A, B, C, none."),
    ("steps_min=many", "steps_min is 'many'; it must be a whole number from 0 to"),
    (f"tokens_max={'9' * 400}", "tokens_max"),
    ("training_eligible=perhaps", "training_eligible is 'perhaps'; it must be true or false."),
    ("steps_min=1&steps_min=2", "steps_min may be given once."),
    ("&".join(f"tool={n}" for n in range(70)), "more than 64 values"),
)


async def test_what_cannot_be_asked_is_a_400_with_one_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for query, sentence in REFUSED:
            answer = await server.send("get", f"{TRAJECTORIES}?{query}")
            check_described("get", TRAJECTORIES, Reply(answer.status_code, answer.body, ()))
            assert answer.status_code == 400
            assert sentence in json.loads(answer.body)["error"]
            assert "`" not in json.loads(answer.body)["error"]


async def test_a_cursor_is_good_for_its_question_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        _, cursor = await page(server, limit=1)
        for path in (f"{TRAJECTORIES}?tier=none&cursor={cursor}", f"{RECORDS}?cursor={cursor}"):
            answer = await server.send("get", path)
            assert answer.status_code == 400
            assert "one of another reading" in json.loads(answer.body)["error"]


async def test_only_a_token_of_the_scope_reads(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        other, _ = leave_token(tmp_path, "intake", "read", "admin", now=server.run.clock.now)
        for token, status in (("cc_wrong", 401), (other, 403)):
            answer = await server.send("get", TRAJECTORIES, token=token)
            own = (("WWW-Authenticate", answer.headers["WWW-Authenticate"]),)
            check_described("get", TRAJECTORIES, Reply(answer.status_code, answer.body, own))
            assert answer.status_code == status


async def test_without_a_corpus_or_room_whoever_asks_is_sent_away_for_a_while(tmp_path: Path) -> None:
    """Pages wait for their turn, as many as may."""
    async with serving(tmp_path, readers_max=1, readers_waiting_max=1) as server, trio.open_nursery() as nursery:
        may_end, found = threading.Event(), []
        nursery.start_soon(partial(server.corpus._threads.answer, may_end.wait, abandon_on_cancel=False))
        await trio.testing.wait_all_tasks_blocked()

        async def ask() -> None:
            found.append(await server.send("get", TRAJECTORIES))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        busy = await server.send("get", TRAJECTORIES)
        assert (busy.status_code, "Retry-After" in busy.headers, found) == (503, True, [])
        check_described("get", TRAJECTORIES, Reply(503, busy.body, (("Retry-After", busy.headers["Retry-After"]),)))
        (tmp_path / "corpus.db").rename(tmp_path / "gone.db")
        may_end.set()
        with trio.fail_after(30):
            while not found:
                await trio.lowlevel.checkpoint()
        assert (found[0].status_code, "no corpus yet" in json.loads(found[0].body)["error"]) == (503, True)
        (tmp_path / "gone.db").rename(tmp_path / "corpus.db")


def test_every_argument_is_described() -> None:
    for path, count in ((TRAJECTORIES, 21), (RECORDS, 7)):
        described = DOCUMENT["paths"][path]["get"]["parameters"]
        assert len({each["name"] for each in described}) == len(described) == count


class Bridge(httpx.BaseTransport):
    """Asks the application of a test from another thread; `breaks` says which answers are spoilt, and how."""

    def __init__(self, server: Asked, breaks: dict[int, Any] | None = None) -> None:
        self.server = server
        self.breaks = breaks or {}
        self.asked: list[httpx.URL] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        broken = self.breaks.get(len(self.asked))
        if isinstance(broken, Exception):
            raise broken
        if isinstance(broken, httpx.Response):
            return broken
        path = request.url.raw_path.decode()
        status, headers, body = trio.from_thread.run(self._ask, path, dict(request.headers))
        return httpx.Response(status, headers=headers, content=body[: broken or len(body)], request=request)

    async def _ask(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        answer = await self.server.client.get(path, headers=headers)
        body = await answer.get_data()
        kept = {name: answer.headers[name] for name in ("Content-Encoding", "Retry-After") if name in answer.headers}
        return answer.status_code, kept, body


async def read(server: Asked, bridge: Bridge, waited: list[float] | None = None, **filters: Any) -> list[Trajectory]:
    """What `open_corpus` reads of a server, in a thread."""
    corpus = open_corpus("http://central.example", token=server.token, **filters)
    corpus._holding = Server(
        "http://central.example/", server.token, transport=bridge, sleep=([] if waited is None else waited).append
    )
    return await trio.to_thread.run_sync(lambda: list(corpus))


async def test_a_server_is_read_as_its_directory_is(tmp_path: Path) -> None:
    """The same objects, under the same filters; a page that breaks off, and whatever passes, is asked for again."""
    async with serving(tmp_path, page_records_max=2) as server:
        chosen: dict[str, Any] = {"texts": ["in the parser"], "steps_min": 2, "after": "2026-11-01T12:00:00+02:00"}
        assert await read(server, Bridge(server), **chosen) == list(open_corpus(tmp_path, **chosen)) != []
        busy = httpx.Response(503, headers={"Retry-After": "7"}, json={"error": "Too much."})
        bridge = Bridge(server, {1: httpx.ConnectError("no"), 2: busy, 4: 1_000, 5: httpx.ReadTimeout("no")})
        waited: list[float] = []
        assert await read(server, bridge, waited) == list(open_corpus(tmp_path))
        assert all(asked <= each <= asked * 1.25 for asked, each in zip([1, 7, 1, 2], waited, strict=True)), waited
        assert len(bridge.asked) == 6
        corpus = open_corpus("http://central.example", token=server.token)
        corpus._holding = Server("http://central.example", server.token, transport=Bridge(server))
        assert await trio.to_thread.run_sync(lambda: list(corpus.records())) == []


@pytest.mark.parametrize(
    ("spoilt", "sentence", "tries"),
    [
        (httpx.ConnectError("no"), "does not answer .ConnectError.; it was asked 6 times", 6),
        (httpx.Response(500, json={"error": "It failed."}), "It failed.; it was asked 6 times", 6),
        (httpx.Response(200, content=b'{"trajectory":'), "a page broke off; it was asked 6 times", 6),
        (httpx.Response(200, content=b"<html>\n"), "sends what is no corpus", 1),
        (httpx.Response(302, headers={"Location": "/"}), "answers 302: with a page of another program", 1),
        (httpx.Response(403, json={"error": "Not you."}), "answers 403: Not you.", 1),
    ],
)
def test_a_server_that_does_not_serve_is_left_after_a_bounded_number_of_tries(
    spoilt: Any, sentence: str, tries: int
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(spoilt, Exception):
            raise spoilt
        return httpx.Response(spoilt.status_code, headers=spoilt.headers, content=spoilt.content)

    asked: list[httpx.Request] = []
    waited: list[float] = []
    server = Server("http://central.example", TOKEN, transport=httpx.MockTransport(answer), sleep=waited.append)
    corpus = open_corpus("https://central.example", token=TOKEN, texts=["quite secret"])
    corpus._holding = server
    with pytest.raises(NotServedError, match=sentence) as found:
        list(corpus)
    assert len(asked) == tries == len(waited) + 1
    assert TOKEN not in str(found.value) + repr(corpus)
    assert "secret" not in str(found.value)


TOKEN = "cc_" + "x" * 43


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://me:secret@x", "https://x?y", "https://x:99999"])
def test_what_is_no_address_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="what is to be read from is no URL") as found:
        open_corpus(url, token=TOKEN)
    assert "secret" not in str(found.value)
    monkeypatch.delenv("CENTRAL_COMMAND_TOKEN", raising=False)
    with pytest.raises(ValueError, match="needs a token of the scope export"):
        open_corpus("https://central.example")
    monkeypatch.setenv("CENTRAL_COMMAND_TOKEN", TOKEN)
    assert repr(open_corpus("https://central.example/")) == "<Corpus https://central.example>"


ARGUMENTS = st.dictionaries(
    st.sampled_from([each["name"] for each in DOCUMENT["paths"][TRAJECTORIES]["get"]["parameters"]]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.integers().map(str),
    max_size=3,
)


@given(st.data())
@settings(max_examples=1, deadline=None)
def test_no_query_is_an_error_of_the_server(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    async def ask() -> None:
        async with serving(tmp_path_factory.mktemp("corpus"), requests_per_minute=1_000) as server:
            for _ in range(60):
                answer = await server.send("get", f"{TRAJECTORIES}?{urlencode(data.draw(ARGUMENTS))}")
                assert answer.status_code in {200, 400}

    trio.run(ask)

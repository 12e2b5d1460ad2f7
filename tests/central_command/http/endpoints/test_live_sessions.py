"""`GET /api/sessions/{id}`: figures of open and closed sessions without an actor, and conversations of the corpus."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes.settings import SchemaSettings
from central_command.http.app import create_app
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from central_command.live_sessions.history import NoHistory
from persistence.journals.erasure_register import ErasureSubject
from tests.actors.curation.trajectory_lines import prompt
from tests.archived_corpus import archive_corpus, out_of_reach
from tests.central_command.http.description.test_openapi import check_described
from tests.corpus_maker import session, summed
from tests.curated import curation, leave_sessions
from tests.indexed import put
from tests.running_service import Running, running, settings_with
from tests.submitted_texts import leave_token

SESSION, HISTORY = "/api/sessions/{session_id}", "/api/sessions/{session_id}/history"
USAGE = {"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 60, "cache_write_tokens": 5}


class Asked:
    def __init__(self, run: Running, client: Any, token: str) -> None:
        self.run = run
        self.client = client
        self.token = token

    async def get(self, session_id: str = "sess_1", *, history: bool = False, query: str = "", token: str = "") -> Any:
        path = (HISTORY if history else SESSION).replace("{session_id}", session_id)
        headers = {"Authorization": f"Bearer {token or self.token}"}
        answer = await self.client.get(f"{path}{query}", headers=headers)
        body = await answer.get_data()
        own = {name: answer.headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer.headers}
        check_described("get", HISTORY if history else SESSION, Reply(answer.status_code, body, tuple(own.items())))
        return answer.status_code, json.loads(body)


@asynccontextmanager
async def serving(root: Path, scope: str = "read", **live: Any) -> AsyncIterator[Asked]:
    async with running(root, settings=settings_with(live=live)) as run:
        token, _ = leave_token(run.root, scope, now=run.clock.now)
        app = create_app(
            run.service,
            HttpSettings(),
            schema=SchemaSettings(),
            clock=run.clock,
            live=run.service.desks.live_sessions(),
        )
        yield Asked(run, app.test_client(), token)


def step(run: Running, number: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"step": number, "type": kind, "timestamp": run.clock.now - 60 + number, "content": "said", **members}


async def test_an_open_session_is_counted_on_as_it_grows_and_no_actor_is_activated(tmp_path: Path) -> None:
    """What came after the last question is all that is read for the next one."""
    async with serving(tmp_path / "data") as asked:
        run = asked.run
        client = await run.open()
        await run.send(client.chunk_of([step(run, 1, "instruction"), step(run, 2, "thought", usage=USAGE)]))
        await run.projected()
        before = run.service.statistics().sessions.activated
        status, found = await asked.get()
        assert status == 200
        assert (found["state"], found["chunks"], found["steps"]) == ("active", 1, 2)
        assert found["metrics"]["tokens"] == {
            "input": 100,
            "output": 20,
            "cacheRead": 60,
            "cacheWrite": 5,
            "total": 120,
        }
        assert (found["promptCount"], found["channels"], found["durationMs"]) == (1, ["user"], 1000)
        assert (found["metrics"]["messageCount"], found["metrics"]["modelSwitches"]) == (2, 0)
        assert "score" not in found
        assert run.service.statistics().sessions.activated == before
        await run.send(client.chunk_of([step(run, 3, "action", model="other", agent="reviewer", usage=USAGE)]))
        await run.projected()
        _, found = await asked.get()
        assert (found["modelId"], found["agentName"]) == ("other", "reviewer")
        assert (found["metrics"]["tokens"]["total"], found["metrics"]["modelSwitches"]) == (240, 1)


async def test_a_closed_session_has_its_score_and_late_feedback(tmp_path: Path) -> None:
    """Its figures are those of its trajectory, however often it was asked for before."""
    async with serving(tmp_path / "data", scope="admin") as asked:
        run = asked.run
        client = await run.open()
        await run.send(client.chunk_of([step(run, 1, "instruction"), step(run, 2, "thought", usage=USAGE)]))
        await run.projected()
        await asked.get()
        await run.send(client.close())
        await run.projected()
        _, found = await asked.get()
        assert (found["state"], found["metrics"]["tokens"]["total"]) == ("closed", 120)
        assert found["score"]["totalPoints"] > 0
        assert found["feedback"] == []
        await run.send(client.feedback("accepted"))
        await run.projected()
        _, found = await asked.get()
        assert [each["signal"] for each in found["feedback"]] == ["accepted"]


async def test_a_session_has_its_title_and_summary_once_its_record_has_them(tmp_path: Path) -> None:
    root = tmp_path / "data"
    await leave_sessions(root, "sess_1", "sess_2")
    async with curation(root) as (curating, _):
        await curating.catch_up()
    await summed(root, "Mend the parser", ["sess_1"])
    async with serving(root) as asked:
        _, found = await asked.get()
        assert (found["title"], found["summary"]) == ("Mend the parser", "About Mend the parser.")
        assert {"title", "summary"}.isdisjoint((await asked.get("sess_2"))[1])
        await asked.run.service.ask_erasure(ErasureSubject.SESSION, "sess_1")
        assert (await asked.get())[0] == 404


async def test_the_session_that_it_goes_on_from_is_its_contributors_own(tmp_path: Path) -> None:
    """What a client says of anybody else's is told to nobody, and neither is one that is to be erased."""
    async with serving(tmp_path / "data") as asked:
        run = asked.run
        told: dict[str, Any] = {}
        for session_id, contributor, before in (
            ("sess_1", "a" * 32, None),
            ("sess_2", "A" * 32, "sess_1"),
            ("sess_3", "b" * 32, "sess_1"),
            ("sess_4", "a" * 32, "what I wrote"),
        ):
            client = await run.open(session_id, contributor_id=contributor)
            metadata = {} if before is None else {"continues_session": before}
            await run.send(client.chunk_of([step(run, 1, "instruction")], **metadata))
            await run.send(client.close())
            await run.projected()
            told[session_id] = (await asked.get(session_id))[1]["continues"]
        assert told == {"sess_1": None, "sess_2": "sess_1", "sess_3": None, "sess_4": None}
        await run.service.ask_erasure(ErasureSubject.SESSION, "sess_1")
        assert (await asked.get("sess_2"))[1]["continues"] is None


async def test_what_is_not_there_or_erased_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Also while an erasure is still under way."""
    async with serving(tmp_path / "data") as asked:
        run = asked.run
        client = await run.open()
        await run.send(client.chunk_of([step(run, 1, "instruction")]))
        await run.projected()
        assert (await asked.get())[0] == 200
        await run.service.ask_erasure(ErasureSubject.SESSION, "sess_1")
        for session_id in ("sess_1", "sess_2", "%20", "a" * 129, "erased_0123456789abcdef"):
            status, found = await asked.get(session_id)
            assert status == 404
            assert found["error"].endswith((".", ":", "-"))
            assert (await asked.get(session_id, history=True))[0] == 404


async def test_only_who_may_read_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path / "data", scope="intake") as asked:
        assert (await asked.get())[0] == 403
        assert (await asked.get(token="cc_no"))[0] == 401
        assert (await asked.get(history=True))[0] == 403


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    asked_for = {**prompt("call it"), "type": "instruction"}
    call = {**prompt("Using Bash"), "type": "action", "tool": "Bash", "arguments": {"cmd": "ls"}, "call_id": "c"}
    result = {**prompt("a.txt"), "type": "observation", "tool": "Bash", "call_id": "c"}
    thinking = {**prompt("hm"), "type": "thought", "source": "thinking"}
    said = {**prompt("mail a@example.com"), "type": "thought"}
    long = {**prompt("x" * 70_000), "type": "instruction"}
    put(root, session(0, [asked_for, thinking, call, result, said]), session(1, [long]))
    return root


async def test_a_history_is_the_conversation_without_reasoning(root: Path) -> None:
    """Scrubbed, as the corpus has it; calls are lines of the assistant's, results are the tool's."""
    async with serving(root) as asked:
        status, found = await asked.get("sess_0", history=True, query="?format=messages")
        assert status == 200
        assert [(each["role"], each["content"]) for each in found] == [
            ("user", "call it"),
            ("assistant", 'Bash({"cmd":"ls"})'),
            ("tool", "a.txt"),
            ("assistant", "mail [EMAIL]"),
        ]
        assert all(each["createdAt"] for each in found)
        assert (await asked.get("sess_0", history=True))[1] == found


async def test_another_format_and_a_history_too_large_are_refused(root: Path) -> None:
    """The sentence names the formats that there are."""
    async with serving(root, history_bytes_max=65_536) as asked:
        status, found = await asked.get("sess_0", history=True, query="?format=atif")
        assert (status, found["error"]) == (400, "There is no format 'atif'; there is messages.")
        assert (await asked.get("sess_1", history=True))[0] == 413


async def test_a_history_whose_archive_is_away_is_refused_before_anything_of_it_is_sent(
    root: Path, tmp_path: Path
) -> None:
    """It is said in a sentence, it counts as nothing damaged, and nobody's place is held for it."""
    archive = tmp_path / "archive"
    await archive_corpus(root, archive)
    async with serving(root, histories_max=1) as asked:
        with out_of_reach(archive):
            for _ in range(2):
                status, found = await asked.get("sess_0", history=True)
                assert (status, found["error"]) == (503, "The corpus cannot be read now; come back later.")
        status, found = await asked.get("sess_0", history=True)
        assert (status, len(found)) == (200, 4)


async def test_a_history_whose_record_is_damaged_is_no_empty_conversation(root: Path) -> None:
    [path] = (root / "corpus").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"call it", b"call us", 1))
    async with serving(root) as asked:
        status, found = await asked.get("sess_0", history=True)
        assert (status, found["error"]) == (422, "The record of session sess_0 is damaged: `verify` says where.")
        assert (await asked.get("sess_1", history=True))[0] == 200


async def test_no_more_conversations_are_held_than_may_be(root: Path) -> None:
    async with serving(root, histories_max=1) as asked:
        desk = asked.run.service.desks.live_sessions().histories
        pieces = await desk.history("sess_0")
        assert not isinstance(pieces, NoHistory)
        assert (await anext(aiter(pieces))).startswith(b'[{"role":"user"')
        assert isinstance(await desk.history("sess_0"), NoHistory)
        assert [piece async for piece in pieces] == []
        assert not isinstance(await desk.history("sess_0"), NoHistory)

"""`/api/admin/refused`: dead letters listed, shown and tried again, with a token of the scope `admin`."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes.refusals import Refusal
from actors.envelopes.settings import SchemaSettings
from central_command.http.app import create_app
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from tests.central_command.http.description.test_openapi import check_described
from tests.running_service import Running, running, settings_with
from tests.signing_client import CONTRIBUTOR, SigningClient
from tests.submitted_texts import leave_token

REFUSED = "/api/admin/refused"
STRICT = settings_with(schema={"team_size_max": 3})


class Asked:
    """A running service behind its HTTP application, and a token of the scope."""

    def __init__(self, run: Running, scope: str = "admin") -> None:
        self.run = run
        self.token, _ = leave_token(run.root, scope, now=run.clock.now)
        app = create_app(
            run.service, HttpSettings(), schema=SchemaSettings(), clock=run.clock, refused=run.service.desks.refused()
        )
        self.client: Any = app.test_client()

    async def send(self, method: str, path: str = "") -> tuple[int, Any]:
        answer = await getattr(self.client, method)(
            f"{REFUSED}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        body = await answer.get_data()
        headers = {name: answer.headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer.headers}
        route = REFUSED if path[:1] != "/" else f"{REFUSED}/{{letter_id}}" + ("/retry" if method == "post" else "")
        check_described(method, route, Reply(answer.status_code, body, tuple(headers.items())))
        return answer.status_code, json.loads(body)


async def refused(run: Running, client: SigningClient) -> None:
    assert isinstance(await run.send(client.chunk(3, team_size=4)), Refusal)


@asynccontextmanager
async def serving(root: Path, letters: int = 3) -> AsyncIterator[Asked]:
    """A server that takes what one with other settings refused."""
    async with running(root, settings=STRICT) as run:
        client = await run.open()
        for _ in range(letters):
            await refused(run, client)
    async with running(root) as run:
        yield Asked(run)


async def test_letters_are_listed_shown_and_taken_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        status, first = await server.send("get", "?limit=2&code=schema&session=sess_1")
        assert status == 200
        assert [each["sequence"] for each in first["refused"]] == [2, 1]
        status, rest = await server.send("get", f"?limit=2&cursor={first['next_cursor']}")
        assert [each["sequence"] for each in rest["refused"]] == [0]
        assert rest["next_cursor"] is None
        letter = rest["refused"][0]
        assert (letter["can_retry"], letter["hindered_by"], letter["taken_in_as"]) == (True, None, None)
        assert "team_size is 4" in letter["reason"]
        status, shown = await server.send("get", f"/{letter['id']}")
        assert status == 200
        body = json.loads(shown["body"])
        assert body["metadata"]["team_size"] == 4
        assert body["contributor_id"].startswith("con_"), "the id itself is its contributor's secret"
        assert CONTRIBUTOR not in shown["body"].lower()
        status, tried = await server.send("post", f"/{letter['id']}/retry")
        assert (status, tried["ok"]) == (200, True)
        assert [each["id"] for each in tried["results"]] == [letter["id"]]
        status, again = await server.send("post", f"/{letter['id']}/retry")
        assert (status, again["ok"], again["results"][0]["already"]) == (200, True, True)
        status, shown = await server.send("get", f"/{letter['id']}")
        assert shown["taken_in_as"] == tried["results"][0]["taken_in_as"]
        assert (shown["can_retry"], shown["hindered_by"]) == (False, "taken_in")
        entries = await server.run.service.access.audit.entries(after_n=0, limit=10)
        assert [(entry.action, entry.subject) for entry in entries] == [("letter_tried", letter["id"])] * 2


async def test_what_stays_refused_says_why(tmp_path: Path) -> None:
    async with running(tmp_path, settings=STRICT) as run:
        await refused(run, await run.open())
        server = Asked(run)
        _, page = await server.send("get")
        status, tried = await server.send("post", f"/{page['refused'][0]['id']}/retry")
        assert (status, tried["ok"], tried["results"][0]["code"]) == (200, False, "schema")


async def test_a_contributor_s_letters_are_found_once_a_chunk_names_them(tmp_path: Path) -> None:
    async with serving(tmp_path, letters=2) as server:
        assert (await server.send("get", f"?contributor={CONTRIBUTOR}"))[1]["refused"] == []
        _, page = await server.send("get")
        await server.send("post", f"/{page['refused'][1]['id']}/retry")
        _, found = await server.send("get", f"?contributor={CONTRIBUTOR.upper()}")
        assert len(found["refused"]) == 2


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=201",
        "?limit=x",
        "?limit=",
        "?limit=1&limit=2",
        "?cursor=0",
        "?cursor=-1",
        "?cursor=1e3",
        "?cursor=9999999999999999999",
        "?cursor=%00",
        "?code=Schema",
        "?code=",
        "?code=schema%27--",
        "?code=" + "a" * 65,
        "?code=schema&code=schema",
        "?day=2026-1-2",
        "?day=yesterday",
        "?day=2026-11-20%0A",
        "?session=",
        "?session=a%20b",
        "?session=" + "s" * 129,
        "?session=%F0%9F%9A%80",
        "?contributor=abc",
        "?contributor=" + "g" * 32,
        "?contributor=" + "0" * 33,
    ],
)
async def test_a_wrong_question_is_answered_with_one_sentence(tmp_path: Path, query: str) -> None:
    async with running(tmp_path) as run:
        status, answer = await Asked(run).send("get", query)
        assert status == 400
        assert answer["error"].endswith(".")


@pytest.mark.parametrize("letter_id", ["env_nobody", "x" * 3_000, "%00", "..", "%F0%9F%9A%80", "'%20OR%201"])
async def test_a_letter_that_there_is_not_is_404(tmp_path: Path, letter_id: str) -> None:
    async with running(tmp_path) as run:
        server = Asked(run)
        assert (await server.send("get", f"/{letter_id}"))[0] == 404
        assert (await server.send("post", f"/{letter_id}/retry"))[0] == 404


@pytest.mark.parametrize("scope", ["read", "intake", "export"])
async def test_no_other_scope_will_do(tmp_path: Path, scope: str) -> None:
    async with running(tmp_path) as run:
        assert (await Asked(run, scope).send("get"))[0] == 403
        assert (await Asked(run, scope).send("post", "/env_1/retry"))[0] == 403

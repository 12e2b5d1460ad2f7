"""The observer's endpoints: as the original's clients expect them on its port, and with a token on the main one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.envelopes.settings import SchemaSettings
from actors.observer.settings import ObserverSettings
from central_command.http.app import create_app, create_observer_app, observer_http
from central_command.http.endpoints.observer import Observing
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from tests.actors.observer.observing import Watched, watching
from tests.central_command.http.description.test_openapi import check_described
from tests.running_service import Running, running
from tests.submitted_texts import leave_token

EVENT = {"event_kind": "fill", "role": "welder", "count": 3, "city": "Gary", "state": "IN", "staffer_id": "W-1"}


class Asked:
    """Both applications over one observer."""

    def __init__(self, run: Running, watched: Watched, observer: ObserverSettings) -> None:
        self.watched = watched
        self.tokens = {
            scope: leave_token(run.root, scope, now=run.clock.now)[0] for scope in ("read", "intake", "export", "admin")
        }
        http = HttpSettings()
        observing = Observing(watched.observer, run.service._gate, observer)
        main = create_app(run.service, http, schema=SchemaSettings(), clock=run.clock, observing=observing)
        port = create_observer_app(
            run.service, watched.observer, observer, observer_http(http, observer), clock=run.clock
        )
        self._main: Any = main.test_client()
        self._port: Any = port.test_client()

    async def port(self, method: str, path: str, data: bytes = b"", **headers: str) -> Any:
        answer = await getattr(self._port, method)(path, headers={"Host": "127.0.0.1:3800", **headers}, data=data)
        answer.members = json.loads(await answer.get_data())
        return answer

    async def api(self, method: str, path: str, data: bytes = b"", *, scope: str = "read") -> Any:
        sent = {"Authorization": f"Bearer {self.tokens.get(scope, 'cc_wrong')}"}
        answer = await getattr(self._main, method)(f"/api/observer{path}", headers=sent, data=data)
        body = await answer.get_data()
        answer.members = json.loads(body)
        headers = {name: answer.headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer.headers}
        described = f"/api/observer{path.partition('?')[0]}"
        check_described(method, described, Reply(answer.status_code, body, tuple(headers.items())))
        return answer


@asynccontextmanager
async def asked(root: Path, **settings: Any) -> AsyncIterator[Asked]:
    observer = ObserverSettings(**settings)
    async with running(root / "data") as run, watching(root / "observed", **settings) as watched:
        yield Asked(run, watched, observer)


async def test_the_port_answers_as_the_original_does(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        answer = await server.port("post", "/event", json.dumps({**EVENT, "success": True}).encode())
        assert (answer.status_code, answer.members) == (200, {"accepted": True, "ring_size": 1})
        answer = await server.port("post", "/event", b'{"error":"no worker"}')
        assert answer.members == {"accepted": True, "ring_size": 2}
        assert (await server.port("get", "/health")).members == {"status": "ok", "ops_in_ring": 2}
        stats = (await server.port("get", "/stats")).members
        recent = stats.pop("recent_scenario_ops")
        assert stats == {"total": 2, "successes": 1, "failures": 1, "by_source": {"scenario": 2}}
        assert [{**each, "ts": ""} for each in recent] == [
            {"ts": "", "ok": True, "staffer": "W-1", "kind": "fill", "role": "welder"},
            {"ts": "", "ok": False, "staffer": None, "kind": None, "role": None},
        ]


async def test_with_a_token_the_same_and_more_is_on_the_main_port(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        for number in range(6):
            said = json.dumps({"endpoint": "/q", "success": number != 3, "input_summary": f"day {number}"}).encode()
            assert (await server.api("post", "/event", said, scope="intake")).status_code == 200
        for _ in range(5):
            await server.watched.observer.cycle()
        assert (await server.api("get", "/health")).members["ops_in_ring"] == 6
        assert (await server.api("get", "/stats")).members["failures"] == 1
        [group] = (await server.api("get", "/failures")).members["failures"]
        assert (group["endpoint"], group["count"], group["example"]["input_summary"]) == ("/q", 1, "day 3")
        [book] = (await server.api("get", "/playbooks")).members["playbooks"]
        assert (book["count"], book["pattern"]) == (5, "day <n>")
        first = (await server.api("get", "/operations?limit=4")).members
        assert [each["n"] for each in first["operations"]] == [6, 5, 4, 3]
        rest = (await server.api("get", f"/operations?limit=4&before={first['next']}")).members
        assert ([each["n"] for each in rest["operations"]], rest["next"]) == ([2, 1], None)
        for query, numbers in (
            ("success=false", 1),
            ("success=true&endpoint=/q", 5),
            ("source=nobody", 0),
            ("endpoint=/", 0),
        ):
            found = (await server.api("get", f"/operations?{query}")).members
            assert (len(found["operations"]), found["next"]) == (numbers, None), query


async def test_writing_needs_the_scope_intake_and_reading_read(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        for method, path, right in (
            ("post", "/event", "intake"),
            *(("get", path, "read") for path in ("/stats", "/health", "/failures", "/playbooks", "/operations")),
        ):
            for scope in ("read", "intake", "export", "admin", "none"):
                status = (await server.api(method, path, b"{}", scope=scope)).status_code
                assert status == (200 if scope == right else 401 if scope == "none" else 403), (path, scope)
        assert len(server.watched.observer.ring) == 1


BAD_EVENTS: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"nonsense", 400),
    (b"[]", 400),
    (b'"text"', 400),
    (b"null", 400),
    (b"7", 400),
    (b"NaN", 400),
    (b"\xff\xfe", 400),
    (b'{"role":"\xc3"}', 400),
    (b'\xef\xbb\xbf{"role":"x"}', 400),
    (b'{"role":"x"} {"role":"y"}', 400),
    (b'{"role":"x",}', 400),
    (b"{'role':'x'}", 400),
    (b'{"duration_ms":1e999}', 400),
    (b'{"duration_ms":NaN}', 400),
    (b'{"duration_ms":-1}', 400),
    (b'{"duration_ms":"3"}', 400),
    (b'{"duration_ms":' + b"9" * 400 + b"}", 400),
    (b'{"success":"true"}', 400),
    (b'{"success":0}', 400),
    (b'{"endpoint":["/x"]}', 400),
    (b'{"error":{"message":"x"}}', 400),
    (b'{"count":"three"}', 400),
    (b'{"count":true}', 400),
    (b'{"applied_at_turn":[]}', 400),
    (b'{"rescue_attempted":"no"}', 400),
    (b'{"timestamp":1796040000}', 400),
    (b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
    (b'{"x":"' + b"y" * 9_000 + b'"}', 400),
    (b'{"x":"' + b"y" * 70_000 + b'"}', 413),
]


async def test_a_bad_event_is_refused_with_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        for body, status in BAD_EVENTS:
            for answer in (
                await server.port("post", "/event", body),
                await server.api("post", "/event", body, scope="intake"),
            ):
                assert answer.status_code == status, body[:60]
                sentence = answer.members["error"]
                assert sentence.endswith(".")
                assert sentence.count(". ") == 0
        assert len(server.watched.observer.ring) == 0
        assert not list((tmp_path / "observed" / "operations").iterdir())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/event", 405),
        ("post", "/stats", 405),
        ("get", "/", 404),
        ("get", "/events", 404),
        ("put", "/event", 405),
    ],
)
async def test_other_paths_and_methods_are_refused(tmp_path: Path, method: str, path: str, status: int) -> None:
    async with asked(tmp_path) as server:
        answer = await server.port(method, path)
        assert answer.status_code == status
        assert answer.members["error"].endswith(".")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "before=0", "before=-1", "before=1&before=2", "success=yes"]
)
async def test_a_bad_page_is_refused(tmp_path: Path, query: str) -> None:
    async with asked(tmp_path) as server:
        assert (await server.api("get", f"/operations?{query}")).status_code == 400


async def test_pages_of_others_are_refused_on_the_port(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Host": "rebound.example:3800"},
            {"Host": "127.0.0.1.evil.example"},
        ):
            for method, path in (("post", "/event"), ("get", "/stats"), ("options", "/event")):
                answer = await server.port(method, path, b"{}" if method == "post" else b"", **headers)
                assert answer.status_code in {400, 403}, headers
        assert len(server.watched.observer.ring) == 0
        assert (await server.port("get", "/stats", Host="localhost:3800")).status_code == 200


async def test_without_room_an_event_is_answered_507(tmp_path: Path) -> None:
    async with asked(tmp_path, quota_bytes=1_048_576, text_chars_max=60_000) as server:
        event = json.dumps({"output_summary": "word " * 11_000}).encode()
        answers = [await server.port("post", "/event", event) for _ in range(20)]
        assert {each.status_code for each in answers} == {200, 507}
        assert answers[-1].members["error"].endswith(".")
        assert len(server.watched.observer.ring) == sum(each.status_code == 200 for each in answers)

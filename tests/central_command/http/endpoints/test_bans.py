"""Bans over HTTP: seen and changed by who may, refused at the opening with one sentence, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import pytest

from persistence.format.records import JournalName
from tests.central_command.http.endpoints.test_sign_in import Browsing, browsing, described
from tests.signing_client import SigningClient

BANS = "/api/access/bans"
OPEN = "/v1/sessions/open"
CONTRIBUTOR = "0123456789abcdef0123456789abcdef"


async def opened(server: Browsing, client: SigningClient, **more: Any) -> Any:
    return await server.send("POST", OPEN, json.dumps(client.opening() | more).encode())


def client_of(server: Browsing, session_id: str = "sess_1") -> SigningClient:
    return SigningClient(session_id, now_s=server.run.clock.now)


@pytest.mark.parametrize("kind", ["machine", "contributor", "address"])
async def test_who_is_banned_opens_no_session_until_the_ban_is_taken_back(tmp_path: Path, kind: str) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        client = client_of(server)
        subject = {
            "machine": client.opening()["machine_fingerprint"],
            "contributor": CONTRIBUTOR,
            "address": "192.0.2.0/24",
        }[kind]
        answer = await server.ask(admin, "POST", BANS, {kind: subject, "reason": "floods", "days": 7})
        assert answer.status_code == 201
        ban = described(answer, "post", BANS)
        assert CONTRIBUTOR not in answer.body.decode()
        assert described(await server.ask(admin, "GET", BANS), "get", BANS) == {"bans": [ban]}
        answer = await opened(server, client, contributor_id=CONTRIBUTOR)
        assert answer.status_code == 403
        assert described(answer, "post", OPEN)["code"] == "banned"
        sentence = described(answer, "post", OPEN)["error"]
        assert (sentence.endswith("has banned it."), "floods" in sentence) == (True, False)
        assert server.client.app.asgi_app.figures.statistics().refusals == {"banned": 1}
        assert server.run.rows("sessions.db", "SELECT count(*) FROM sessions") == [(0,)]
        answer = await server.ask(admin, "DELETE", f"{BANS}/{ban['ban_id']}")
        assert described(answer, "delete", f"{BANS}/{{ban_id}}") == ban
        assert (await opened(server, client, contributor_id=CONTRIBUTOR)).status_code == 200


async def test_a_machine_is_banned_by_the_beginning_of_just_one_that_is_known(tmp_path: Path) -> None:
    """A ban of what no machine has would be none: it is refused, and a whole fingerprint is taken as it is."""
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        for number, machine in enumerate(("21704d48" + "0" * 56, "21704d49" + "0" * 56, "odd")):
            answer = await opened(server, client_of(server, f"sess_{number}"), machine_fingerprint=machine)
            assert answer.status_code == 200
        for wrong in ("21704d4", "ab12", "21704d48\u2026"[:8] + "x"):
            answer = await server.ask(admin, "POST", BANS, {"machine": wrong})
            assert answer.status_code == 404
            assert described(answer, "post", BANS)["error"].startswith("machine must be ")
        assert server.rows("bans") == []
        for given, banned in (("21704d48", "21704d48" + "0" * 56), ("odd", "odd"), ("c" * 64, "c" * 64)):
            answer = await server.ask(admin, "POST", BANS, {"machine": given})
            assert (answer.status_code, json.loads(answer.body)["subject"]) == (201, banned)
        refused = await opened(server, client_of(server, "sess_9"), machine_fingerprint="21704d48" + "0" * 56)
        assert refused.status_code == 403


async def test_a_session_that_is_open_goes_on_and_its_opening_is_answered_again(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        client = client_of(server)
        first = await opened(server, client)
        client.opened(json.loads(first.body)["server_public_key"])
        await server.ask(admin, "POST", BANS, {"address": "192.0.2.1"})
        again = await opened(server, client)
        assert (again.status_code, again.body) == (200, first.body)
        answer = await server.send("POST", "/v1/training/ingest", client.chunk())
        assert json.loads(answer.body)["accepted"] is True
        assert len(server.run.lines(JournalName.ENVELOPES)) == 1
        assert (await opened(server, client_of(server, "sess_2"))).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        (b"{", 400),
        ({"machine": "a", "address": "192.0.2.1"}, 400),
        ({"machine": 5}, 400),
        ({"machine": ["a"]}, 400),
        ({"machine": ""}, 400),
        ({"contributor": "me"}, 400),
        ({"address": "everywhere"}, 400),
        ({"address": "0.0.0.0/0"}, 400),
        ({"address": {"ip": "192.0.2.1"}}, 400),
        ({"machine": "a", "reason": 1}, 400),
        ({"machine": "a", "reason": "x" * 201}, 400),
        ({"machine": "a", "reason": "a\u001b[31m"}, 400),
        ({"machine": "a", "days": 0}, 400),
        ({"machine": "a", "days": -1}, 400),
        ({"machine": "a", "days": 1.5}, 400),
        ({"machine": "a", "days": True}, 400),
        ({"machine": "a", "days": "7"}, 400),
        ({"machine": "a", "days": 10**30}, 400),
        ({"machine": "a", "reason": "x" * 5000}, 413),
    ],
)
async def test_what_no_ban_can_be_made_of_is_one_sentence_and_changes_nothing(
    tmp_path: Path, body: Any, status: int
) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        answer = await server.ask(admin, "POST", BANS, body)
        assert answer.status_code == status, answer.body
        assert described(answer, "post", BANS)["error"].endswith(".")
        assert server.rows("bans") == []
        assert (await opened(server, client_of(server))).status_code == 200


async def test_only_the_scope_admin_may_ask_and_what_there_is_not_is_404(tmp_path: Path) -> None:
    async with browsing(tmp_path) as server:
        admin, _ = server.token("admin")
        other, _ = server.token("read", "intake", "export")
        for method, path in (("GET", BANS), ("POST", BANS), ("DELETE", f"{BANS}/ban_0123456789abcdef")):
            assert (await server.ask(other, method, path)).status_code == 403
            assert (await server.send(method, path)).status_code == 401
        for name in ("x", "ban_", "ban_0123456789abcdef", "%00"):
            assert (await server.ask(admin, "DELETE", f"{BANS}/{name}")).status_code == 404


async def test_there_are_no_more_than_the_settings_allow(tmp_path: Path) -> None:
    async with browsing(tmp_path, bans_max=1) as server:
        admin, _ = server.token("admin")
        assert (await server.ask(admin, "POST", BANS, {"machine": "a" * 64})).status_code == 201
        answer = await server.ask(admin, "POST", BANS, {"machine": "b" * 64})
        assert answer.status_code == 507
        described(answer, "post", BANS)

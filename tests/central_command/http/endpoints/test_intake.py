"""`/v1/intake`: records of users who have agreed are taken, each by itself; with a token of its scope only."""

import hashlib
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
from persistence.databases.access_tokens import TokenFile
from persistence.format.records import JournalName
from persistence.journals.journal import AppendRefused
from tests.central_command.http.description.test_openapi import check_described
from tests.running_service import Running, running, settings_with
from tests.signing_client import CONTRIBUTOR, SigningClient, dumps
from tests.submitted_texts import OTHER, USER, body, leave_token, record

RECORDS = "/v1/intake/records"
CONSENT = "/v1/intake/consent"
GIVE = {"user_id": USER, "state": "given", "version": "1.0"}


class Asked:
    """A running service behind its HTTP application, and a token of the intake's scope."""

    def __init__(self, run: Running, http: HttpSettings) -> None:
        self.run = run
        self.token, self.token_id = leave_token(run.root, "intake", now=run.clock.now)
        app = create_app(
            run.service,
            http,
            schema=SchemaSettings(),
            clock=run.clock,
            desk=run.service.desk,
            intake=run.service.intake,
        )
        self.client: Any = app.test_client()

    async def post(self, path: str, data: bytes, *, token: str | None = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", **headers}
        answer = await self.client.post(path, data=data, headers=sent)
        answer.members = json.loads(await answer.get_data())
        return answer

    async def say(self, **members: Any) -> Any:
        return await self.post(CONSENT, dumps({**GIVE, **members}))

    async def submit(self, *records: Any) -> list[dict[str, Any]]:
        answer = await self.post(RECORDS, body(records))
        assert answer.status_code == 200, answer.members
        results: list[dict[str, Any]] = answer.members["results"]
        assert [result["index"] for result in results] == list(range(len(records)))
        assert answer.members["accepted"] == sum(result["accepted"] for result in results)
        assert answer.members["rejected"] == len(results) - answer.members["accepted"]
        return results

    def lines(self) -> list[dict[str, Any]]:
        return self.run.lines(JournalName.INTAKE)


@asynccontextmanager
async def asked(root: Path, http: HttpSettings | None = None, **sections: Any) -> AsyncIterator[Asked]:
    async with running(root, settings=settings_with(**sections)) as run:
        yield Asked(run, http or HttpSettings())


def everything(root: Path) -> bytes:
    """The bytes of all files below a folder."""
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


async def test_a_record_of_a_user_who_has_agreed_is_on_disk_when_it_is_answered(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        assert (await server.say()).status_code == 200
        [first, second] = await server.submit(record("one"), record("two", metadata={"model_name": "q", "n": 1.50}))
        [one, two] = server.lines()
        assert (one["record_id"], two["record_id"]) == (first["id"], second["id"])
        assert (one["content"], one["content_type"], one["metadata"]) == ("one", "prompt", {})
        assert (two["session_id"], two["metadata"]) == ("sess_001", {"model_name": "q", "n": 1.5})
        assert (one["consent_version"], one["token"]) == ("1.0", server.token_id)
        assert one["subject"] == "sha256:" + hashlib.sha256(f"user:{USER}".encode()).hexdigest()
        assert one["received"]["batch"] == two["received"]["batch"], "they share a sync"
        await server.run.projected()
        rows = server.run.rows("sessions.db", "SELECT record_id, n FROM intake_records ORDER BY n")
        assert rows == [(first["id"], 1), (second["id"], 2)]
        assert USER.encode() not in everything(tmp_path)


async def test_only_who_has_agreed_to_the_current_terms_is_taken_each_record_by_itself(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        await server.say()
        results = await server.submit(record(), record(user_id=OTHER), b"{", record())
        assert [result["accepted"] for result in results] == [True, False, False, True]
        assert [result.get("code") for result in results] == [None, "no_consent", "invalid_json", None]
        assert len(server.lines()) == 2
        assert (await server.say(state="withdrawn")).members["event"]["source"] == "api"
        [refused] = await server.submit(record())
        assert (refused["code"], refused["reason"]) == ("consent_withdrawn", "The user has withdrawn.")
        assert (await server.say()).members["recorded"] is True
        assert [result["accepted"] for result in await server.submit(record())] == [True]
    async with asked(tmp_path, consent={"current_version": "2.0"}) as server:
        [refused] = await server.submit(record())
        assert refused["code"] == "outdated_consent"
        assert len(server.lines()) == 3


async def test_from_the_answer_to_a_withdrawal_on_nothing_of_the_user_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not what was looked up before it, and is stored after it."""
    async with asked(tmp_path) as server:
        await server.say()
        register = server.run.service._consent
        states = type(register).states

        async def withdrawn_behind_the_look(self: Any, subjects: Any) -> Any:
            found = await states(self, subjects)
            await server.say(state="withdrawn")
            return found

        monkeypatch.setattr(type(register), "states", withdrawn_behind_the_look)
        [refused] = await server.submit(record())
        assert refused["code"] == "consent_withdrawn"
        assert server.lines() == []


async def test_what_does_not_fit_into_one_commit_goes_in_several(tmp_path: Path) -> None:
    async with asked(tmp_path, storage={"journal_batch_bytes_max": 3_000}) as server:
        await server.say()
        results = await server.submit(*(record("x" * 1_000) for _ in range(8)), record("y" * 9_000))
        assert all(result["accepted"] for result in results)
        assert [line["record_id"] for line in server.lines()] == [result["id"] for result in results]
        assert len({line["received"]["batch"] for line in server.lines()}) > 3


async def test_without_room_nothing_is_taken_and_later_ones_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(tmp_path, storage={"journal_batch_bytes_max": 3_000}) as server:
        await server.say()
        journal = server.run.service._storage.intake
        append, room = journal.append_many, [True]

        async def append_while_there_is_room(lines: Any) -> Any:
            return await append(lines) if room.pop() else AppendRefused.QUOTA_REACHED

        monkeypatch.setattr(journal, "append_many", append_while_there_is_room)
        room[:] = [False, True]
        results = await server.submit(*(record("x" * 1_000) for _ in range(4)))
        assert [result["accepted"] for result in results] == [True, True, False, False]
        assert {result["code"] for result in results[2:]} == {"not_stored"}
        room[:] = [False]
        answer = await server.post(RECORDS, body([record()]))
        assert (answer.status_code, len(server.lines())) == (507, 2)


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"", 400, "The body holds no record."),
        (body([record()] * 65), 400, "The body holds more than 64 lines; send the records in several requests."),
        (b"x" * 5_242_881, 413, "The body is larger than 5242880 bytes."),
    ],
)
async def test_a_body_that_is_none_is_refused_as_a_whole(
    tmp_path: Path, data: bytes, status: int, sentence: str
) -> None:
    async with asked(tmp_path) as server:
        await server.say()
        answer = await server.post(RECORDS, data)
        assert (answer.status_code, answer.members) == (status, {"error": sentence})
        assert server.lines() == []


async def test_a_compressed_body_is_refused(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        answer = await server.post(RECORDS, b"\x1f\x8b", **{"Content-Encoding": "gzip"})
        assert answer.status_code == 415


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"user_id": None}, "user_id must be 1 to 128 letters"),
        ({"user_id": ""}, "user_id must be"),
        ({"user_id": "a/b"}, "user_id must be"),
        ({"user_id": ".."}, "user_id must be"),
        ({"user_id": "x" * 129}, "user_id must be"),
        ({"user_id": ["a"]}, "user_id must be"),
        ({"state": "yes"}, "state must be given or withdrawn."),
        ({"state": ["given"]}, "state must be given or withdrawn."),
        ({"version": "0.9"}, "version must be 1.0"),
        ({"version": 1.0}, "version must be 1.0"),
        ({"version": None}, "version must be 1.0"),
        ({"purposes": []}, "purposes, if it is there, must name those of the notice: training."),
        ({"purposes": ["training", "selling"]}, "purposes"),
        ({"purposes": ["training", "training"]}, "purposes"),
        ({"purposes": "training"}, "purposes"),
        ({"purposes": [1]}, "purposes"),
        ({"purposes": None}, "purposes"),
    ],
    ids=str,
)
async def test_consent_that_is_none_is_refused_and_nothing_recorded(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    async with asked(tmp_path) as server:
        answer = await server.say(**changes)
        assert answer.status_code == 400
        assert answer.members["error"].startswith(sentence)
        assert server.run.lines(JournalName.CONSENT) == []


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"given"', b'{"user_id":"\xff"}'])
async def test_a_statement_that_is_no_object_is_refused(tmp_path: Path, data: bytes) -> None:
    async with asked(tmp_path) as server:
        assert (await server.post(CONSENT, data)).status_code == 400


async def test_consent_to_all_purposes_is_recorded_once_in_the_chain(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        said = await server.say(purposes=["training"])
        assert (said.members["recorded"], said.members["event"]["purposes"]) == (True, ["training"])
        assert (await server.say()).members["recorded"] is False
        [line] = server.run.lines(JournalName.CONSENT)
        assert (line["source"], line["subject"]) == (
            "api",
            "sha256:" + hashlib.sha256(f"user:{USER}".encode()).hexdigest(),
        )


async def test_a_user_and_a_contributor_of_one_id_do_not_speak_for_each_other(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        await server.say(user_id=CONTRIBUTOR)
        await server.say(user_id=CONTRIBUTOR, state="withdrawn")
        session = SigningClient("sess_1", now_s=server.run.clock.now)
        answer = await server.client.post("/v1/sessions/open", data=dumps(session.opening()))
        session.opened(json.loads(await answer.get_data())["server_public_key"])
        assert getattr(await server.run.send(session.chunk()), "code", None) is None
        path = f"/v1/contributors/{USER}/consent"
        assert (await server.client.post(path, data=dumps({"state": "given", "version": "1.0"}))).status_code == 200
        [refused] = await server.submit(record())
        assert refused["code"] == "no_consent"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer cc_",
        "Bearer cc_" + "A" * 42,
        "Bearer cc_" + "A" * 43,
        "Bearer cc_" + "A" * 44,
        "Bearer " + "A" * 8_000,
        "Bearer cc_" + "\u00e9" * 43,
        "Basic Y2M6",
        "cc_" + "A" * 43,
        "Bearer cc_" + "A" * 42 + "\x7f",
    ],
    ids=lambda header: header[:16],
)
async def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(tmp_path: Path, header: str) -> None:
    async with asked(tmp_path) as server:
        answer = await server.client.post(RECORDS, data=body([record()]), headers={"Authorization": header})
        assert answer.status_code == 401
        assert json.loads(await answer.get_data()) == {
            "error": "This endpoint needs a valid token: Authorization: Bearer cc_..."
        }
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="central-command", error="invalid_token"'


async def test_without_a_token_with_a_dead_one_and_with_one_for_something_else_nothing_is_done(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        await server.say()
        now = server.run.clock.now
        missing = await server.client.post(RECORDS, data=body([record()]))
        assert (missing.status_code, missing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="central-command"')
        expired, _ = leave_token(tmp_path, "intake", now=now - 10, lasting_s=5)
        revoked, revoked_id = leave_token(tmp_path, "intake", now=now)
        TokenFile(tmp_path / "access.db", lambda: now).revoke(revoked_id, "2026-11-20T00:00:00.000000Z")
        for dead in (expired, revoked):
            assert (await server.post(RECORDS, body([record()]), token=dead)).status_code == 401
        other, _ = leave_token(tmp_path, "read", "export", "admin", now=now)
        answer = await server.post(RECORDS, body([record()]), token=other)
        assert (answer.status_code, answer.members["error"]) == (
            403,
            "The token has not the scope intake, which this endpoint needs.",
        )
        assert 'error="insufficient_scope", scope="intake"' in answer.headers["WWW-Authenticate"]
        assert server.lines() == []


async def test_wrong_tokens_are_limited_by_address_and_right_ones_are_not_kept_out(tmp_path: Path) -> None:
    async with asked(tmp_path, access={"wrong_per_minute": 3}) as server:
        await server.say()
        wrong = [await server.post(RECORDS, b"", token="cc_" + "A" * 43) for _ in range(5)]
        assert [answer.status_code for answer in wrong] == [401, 401, 401, 429, 429]
        assert int(wrong[-1].headers["Retry-After"]) == wrong[-1].members["retryAfter"] > 0
        assert [result["accepted"] for result in await server.submit(record())] == [True]


async def test_a_token_has_a_budget_of_its_own_and_uses_up_no_address(tmp_path: Path) -> None:
    http = HttpSettings(requests_per_minute=3)
    async with asked(tmp_path, http, intake={"requests_per_minute": 5}) as server:
        answers = [await server.post(CONSENT, dumps(GIVE)) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429, 429]
        assert (await server.client.get("/v1/stats/summary")).status_code == 200


async def test_the_use_of_a_token_is_noted_some_time_later(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        await server.say()
        assert TokenFile(tmp_path / "access.db", server.run.clock).all()[0].last_used_at is None
    [token] = TokenFile(tmp_path / "access.db", server.run.clock).all()
    assert token.last_used_at is not None


async def test_a_user_is_erased_by_whoever_has_a_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with asked(tmp_path) as server:
        await server.say()
        await server.submit(record())
        path = f"/v1/intake/users/{USER}"
        assert (await server.client.delete(path)).status_code == 401
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = await server.client.delete(path, headers=headers)
        members = json.loads(await answer.get_data())
        assert (answer.status_code, {*members}) == (202, {"request", "state", "requested_at"})
        check_described("delete", "/v1/intake/users/{user_id}", Reply(202, json.dumps(members).encode()))
        again = await server.client.delete(path, headers=headers)
        assert json.loads(await again.get_data())["request"] == members["request"]
        [refused] = await server.submit(record())
        assert refused["code"] == "user_erased"
        assert (await server.client.get(f"/v1/erasures/{members['request']}")).status_code == 200
    assert USER not in caplog.text


@pytest.mark.parametrize("name", ["x" * 129, "%2e%2e", "a%20b", "-a", "a%00", "%F0%9F%98%80", "a%0A"])
async def test_what_is_no_user_s_id_is_told_so(tmp_path: Path, name: str) -> None:
    async with asked(tmp_path) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        answer = await server.client.delete(f"/v1/intake/users/{name}", headers=headers)
        assert answer.status_code in {400, 404}, "a client may take `..` out of a path"
        assert server.run.service.eraser.pending() == []


async def test_tokens_that_cannot_be_read_are_a_503(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        (tmp_path / "access.db").write_bytes(b"no database" * 100)
        answer = await server.post(RECORDS, body([record()]))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


async def test_without_an_intake_there_is_no_such_endpoint(client: Any) -> None:
    for path in (RECORDS, CONSENT):
        assert (await client.post(path, data=b"{}")).status_code == 404

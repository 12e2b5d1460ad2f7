"""`/v1/contributors/{id}/consent`: say, show and get a receipt, by whoever knows the id, or by whoever has the key."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.envelopes.settings import SchemaSettings
from central_command.http.app import create_app
from central_command.http.settings import HttpSettings
from persistence.upkeep.verification import verify
from tests.running_service import Running, running, settings_with
from tests.server_process import REPOSITORY
from tests.signing_client import CONTRIBUTOR, SigningClient, dumps

PATH = f"/v1/contributors/{CONTRIBUTOR}/consent"
GIVE = {"state": "given", "version": "1.0"}
WITHDRAW = {"state": "withdrawn"}
NONE = "0" * 64


class Asked:
    """A running service behind its HTTP application."""

    def __init__(self, run: Running) -> None:
        self.run = run
        app = create_app(run.service, HttpSettings(), schema=SchemaSettings(), clock=run.clock, desk=run.service.desk)
        self.client: Any = app.test_client()

    async def post(self, body: object, **options: Any) -> tuple[int, Any]:
        answer = await self.client.post(PATH, data=body if isinstance(body, bytes) else dumps(body), **options)
        return answer.status_code, json.loads(await answer.get_data())

    async def get(self, path: str = PATH, **options: Any) -> tuple[int, Any]:
        answer = await self.client.get(path, **options)
        return answer.status_code, json.loads(await answer.get_data())

    async def opened(self, session: SigningClient, **changes: Any) -> int:
        answer = await self.client.post("/v1/sessions/open", data=dumps(session.opening(**changes)))
        members = json.loads(await answer.get_data())
        if answer.status_code == 200:
            session.opened(members["server_public_key"])
        return int(answer.status_code)

    async def sent(self, body: bytes) -> Any:
        answer = await self.run.send(body)
        return getattr(answer, "code", None)


@asynccontextmanager
async def asked(root: Path, **sections: Any) -> AsyncIterator[Asked]:
    async with running(root, settings=settings_with(**sections)) as run:
        yield Asked(run)


class Contributor:
    """Somebody with a key; signs with the standard forms alone, so that it shares no mistake with the server."""

    def __init__(self, contributor_id: str = CONTRIBUTOR) -> None:
        self.id = contributor_id
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = base64.b64encode(public).decode()

    def sign(self, text: str) -> str:
        return base64.b64encode(self._key.sign(text.encode())).decode()

    def opening(self, session: SigningClient, **changes: str) -> dict[str, str]:
        claim = {"session_id": session.session_id, "public_key": session.public_key} | changes
        text = f"central-command opening v1\n{claim['session_id']}\n{claim['public_key']}\n{self.id}\n{self.public_key}"
        return {
            "contributor_id": self.id,
            "contributor_key": self.public_key,
            "contributor_signature": self.sign(text),
        }

    def headers(self, method: str, body: bytes = b"", *, at: float, path: str = PATH) -> dict[str, str]:
        digest = hashlib.sha256(body).hexdigest()
        text = f"central-command request v1\n{method}\n{path}\n{int(at)}\n{digest}"
        return {"Signature-Time": str(int(at)), "Contributor-Signature": self.sign(text)}


async def test_consent_is_given_shown_and_withdrawn(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        status, nothing = await server.get()
        assert (status, nothing["state"], nothing["history"]) == (200, "none", [])
        assert nothing["last_event_sha256"] == NONE
        status, given = await server.post(GIVE)
        assert (status, given["recorded"], given["event"]["state"]) == (200, True, "given")
        assert (await server.post(GIVE))[1]["recorded"] is False
        assert (await server.post(WITHDRAW))[0] == 200
        _, shown = await server.get()
        assert (shown["state"], [event["state"] for event in shown["history"]]) == ("withdrawn", ["given", "withdrawn"])
        assert shown["history"][1]["previous_sha256"] == shown["history"][0]["sha256"]
        assert shown["last_event_sha256"] == shown["history"][1]["sha256"]
        assert shown["notice"]["sha256"] == hashlib.sha256(shown["notice"]["text"].encode()).hexdigest()
        assert CONTRIBUTOR not in json.dumps(shown)
        session = SigningClient("sess_1", now_s=server.run.clock.now)
        assert await server.opened(session) == 200
        assert await server.sent(session.chunk()) == "consent_withdrawn"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "state must be given or withdrawn"),
        ({"state": "yes", "version": "1.0"}, "state must be given or withdrawn"),
        ({"state": ["given"], "version": "1.0"}, "state must be given or withdrawn"),
        ({"state": "given"}, "version must be 1.0"),
        ({"state": "given", "version": "0.9"}, "version must be 1.0"),
        ({"state": "given", "version": 1.0}, "version must be 1.0"),
        ({"state": "withdrawn", "version": "2.0"}, "version must be 1.0"),
        ({**GIVE, "after": "x"}, "after must be the 64"),
        ({**GIVE, "after": 7}, "after must be the 64"),
        (b"[]", "must be a JSON object"),
        (b"{", "not valid JSON"),
    ],
)
async def test_a_wrong_body_is_said_and_records_nothing(tmp_path: Path, body: object, sentence: str) -> None:
    async with asked(tmp_path) as server:
        status, answer = await server.post(body)
        assert status == 400
        assert sentence in answer["error"]
        assert (await server.get())[1]["state"] == "none"


@pytest.mark.parametrize("wrong", ["x", "0" * 31, "0" * 33, "g" * 32, "%00" * 32])
async def test_an_id_that_cannot_be_one_is_said(tmp_path: Path, wrong: str) -> None:
    async with asked(tmp_path) as server:
        for path in (f"/v1/contributors/{wrong}/consent", f"/v1/contributors/{wrong}/consent/receipt"):
            status, answer = await server.get(path)
            assert (status, answer) == (400, {"error": "A contributor's id is 32 hexadecimal digits."})


async def test_no_log_line_shows_the_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with asked(tmp_path) as server:
        with caplog.at_level("DEBUG"):
            await server.post(GIVE)
            await server.get()
            await server.get(f"{PATH}/receipt")
            await server.get(f"/v1/contributors/{CONTRIBUTOR}")
            await server.get(f"//v1/contributors/{CONTRIBUTOR}/consent")
            server.run.service.desk.show = None  # type: ignore[assignment] # so that the endpoint fails
            assert (await server.get())[0] == 500
    assert "/v1/contributors/.../consent" in caplog.text
    assert CONTRIBUTOR not in caplog.text


async def test_a_registered_key_must_sign_openings(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        mine, thief = Contributor(), Contributor()
        sessions = [SigningClient(f"sess_{n}", now_s=server.run.clock.now) for n in range(6)]
        assert await server.opened(sessions[0]) == 200
        assert await server.sent(sessions[0].chunk()) is None, "nobody has a key yet"
        assert await server.opened(sessions[1], **mine.opening(sessions[1])) == 200
        assert await server.sent(sessions[1].chunk()) is None
        assert await server.sent(sessions[0].chunk()) == "contributor_key_required"
        assert await server.opened(sessions[2], **thief.opening(sessions[2])) == 403
        assert await server.opened(sessions[2], contributor_id=CONTRIBUTOR) == 403
        assert await server.opened(sessions[2], **mine.opening(sessions[1])) == 403, "another session's signature"
        assert await server.opened(sessions[3]) == 200, "it names nobody"
        assert await server.sent(sessions[3].chunk()) == "contributor_key_required"
        other = SigningClient("sess_other", contributor_id="f" * 32, now_s=server.run.clock.now)
        assert await server.opened(other, contributor_id="f" * 32) == 200
        assert await server.sent(other.chunk()) is None
    async with asked(tmp_path) as server:
        assert await server.sent(sessions[1].chunk()) is None, "the session stays signed over a restart"
        assert await server.opened(sessions[4], **thief.opening(sessions[4])) == 403
        assert await server.opened(sessions[5], **mine.opening(sessions[5])) == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"contributor_id": "x"}, 400),
        ({"contributor_id": None}, 400),
        ({"contributor_key": "AAAA"}, 400),
        ({"contributor_key": None}, 400),
        ({"contributor_signature": 7}, 400),
        ({"contributor_signature": "AAAA"}, 403),
        ({"contributor_signature": "é"}, 403),
    ],
)
async def test_a_wrong_claim_opens_and_registers_nothing(tmp_path: Path, changes: Any, status: int) -> None:
    async with asked(tmp_path) as server:
        session, mine = SigningClient("sess_1", now_s=server.run.clock.now), Contributor()
        assert await server.opened(session, **(mine.opening(session) | changes)) == status
        assert await server.run.service.is_open("sess_1") is False
        assert await server.opened(session, **Contributor().opening(session)) == 200, "no key was registered"


async def test_signed_openings_have_a_limit_of_their_own(tmp_path: Path) -> None:
    limits = {"opens_per_machine_per_h": 2, "opens_per_contributor_per_h": 3}
    async with asked(tmp_path, sessions=limits) as server:
        mine = Contributor()
        statuses = []
        for n in range(4):
            session = SigningClient(f"sess_{n}", now_s=server.run.clock.now)
            statuses.append(await server.opened(session, machine_fingerprint="m", **mine.opening(session)))
        assert statuses == [200, 200, 200, 429]
        server.run.clock.now += 3_601
        assert await server.opened(session, machine_fingerprint="m", **mine.opening(session)) == 200


async def test_with_a_registered_key_every_request_must_be_signed_and_works_once(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        mine, thief = Contributor(), Contributor()
        session = SigningClient("sess_1", now_s=server.run.clock.now)
        assert await server.opened(session, **mine.opening(session)) == 200
        now = server.run.clock.now
        assert (await server.get())[0] == 403
        assert (await server.get(f"{PATH}/receipt"))[0] == 403
        assert (await server.post(WITHDRAW))[0] == 403
        _, shown = await server.get(headers=mine.headers("GET", at=now))
        body = dumps(WITHDRAW | {"after": shown["last_event_sha256"]}).encode()
        signed = mine.headers("POST", body, at=now)
        assert (await server.post(body, headers=thief.headers("POST", body, at=now)))[0] == 403
        assert (await server.post(body, headers=mine.headers("GET", body, at=now)))[0] == 403
        assert (await server.post(body, headers=mine.headers("POST", body, at=now, path="/other")))[0] == 403
        assert (await server.post(body, headers=mine.headers("POST", body, at=now - 301)))[0] == 403
        assert (await server.post(body + b" ", headers=signed))[0] == 403
        assert (await server.post(body, headers=signed | {"Signature-Time": "x"}))[0] == 400
        assert (await server.post(body, headers=signed))[0] == 200
        again, last = await server.post(body, headers=signed)
        assert again == 409, "replayed"
        body = dumps(GIVE | {"after": last["last_event_sha256"]}).encode()
        assert (await server.post(body, headers=mine.headers("POST", body, at=now)))[0] == 200


async def test_who_has_a_key_is_erased_by_its_owner_alone_and_opens_sessions_as_nobody_then(tmp_path: Path) -> None:
    path = f"/v1/contributors/{CONTRIBUTOR}"
    async with asked(tmp_path) as server:
        mine, thief, now = Contributor(), Contributor(), server.run.clock.now
        sessions = [SigningClient(f"sess_{n}_0123456789abcdef", now_s=now) for n in range(3)]
        for session in sessions[:2]:
            assert await server.opened(session, **mine.opening(session)) == 200
        assert await server.sent(sessions[0].chunk()) is None
        for headers in ({}, thief.headers("DELETE", at=now, path=path)):
            assert (await server.client.delete(path, headers=headers)).status_code == 403
        answer = await server.client.delete(path, headers=mine.headers("DELETE", at=now, path=path))
        assert answer.status_code == 202
        shown = (await server.get(headers=mine.headers("GET", at=now, path=PATH)))[1]
        assert (shown["state"], shown["erased"]) == ("none", True)
        assert (await server.get(PATH.replace(CONTRIBUTOR, "f" * 32)))[1]["erased"] is False
        await server.run.service.eraser.erase_pending()
        report = server.run.service.erasure((await answer.get_json())["request"])
        assert report is not None
        assert (report.hindered, report.erasure.counts) == (None, {"envelopes": 3, "trajectories": 1})
        assert await server.opened(sessions[2], **mine.opening(sessions[2])) == 200
        assert await server.sent(sessions[2].chunk()) == "contributor_erased"
        rows = server.run.rows("sessions.db", "SELECT session_id, subject FROM sessions")
        assert {subject for _, subject in rows} == {""}
        assert {name for name, _ in rows if name.startswith("sess_")} == {sessions[2].session_id}
        assert await verify(tmp_path, settings_with().storage, applied_at="2026-11-20T10:00:00.000000Z") == []


async def test_there_is_no_receipt_of_nothing(tmp_path: Path) -> None:
    async with asked(tmp_path) as server:
        status, answer = await server.get(f"{PATH}/receipt")
        assert (status, answer) == (404, {"error": "There is no consent to give a receipt of."})


COMMANDS = re.search(r"```sh verify a receipt\n(.*?)```", (REPOSITORY / "docs" / "privacy.md").read_text(), re.DOTALL)
MISSING = [name for name in ("openssl", "jq", "base64", "sh") if shutil.which(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"the commands of docs/privacy.md need {', '.join(MISSING)}")
async def test_a_receipt_verifies_with_the_commands_of_the_page(tmp_path: Path) -> None:
    """With openssl and the published key; a changed receipt does not."""
    folder = tmp_path / "verified"
    folder.mkdir()
    consent = {"controller_name": "Müller & Söhne", "recipients": ['a\u0001b"c']}
    async with asked(tmp_path / "data", consent=consent) as server:
        await server.post(GIVE)
        for path, name in ((f"{PATH}/receipt", "answer.json"), ("/.well-known/central-command.json", "server.json")):
            answer = await server.client.get(path)
            (folder / name).write_bytes(await answer.get_data())
    assert COMMANDS is not None
    receipt = json.loads((folder / "answer.json").read_text())["receipt"]
    assert receipt["schema_version"] == "ISO/IEC TS 27560:2023"
    assert receipt["pii_principal_id"] == f"sha256:{hashlib.sha256(CONTRIBUTOR.encode()).hexdigest()}"
    assert verified(folder) == "Signature Verified Successfully"
    changed = (folder / "answer.json").read_text().replace('"state":"given"', '"state":"withdrawn"')
    (folder / "answer.json").write_text(changed)
    assert verified(folder) != "Signature Verified Successfully"


def verified(folder: Path) -> str:
    """What the page's commands say in a folder with both answers."""
    assert COMMANDS is not None
    run = subprocess.run(["sh", "-c", COMMANDS[1]], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return run.stdout.strip()

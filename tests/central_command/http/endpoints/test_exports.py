"""`/api/exports`: asked for with a token of its scope, answered before they are made, and their files handed out."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.envelopes.settings import SchemaSettings
from central_command.export_queue.offering import offered
from central_command.export_queue.queue import ExportQueue
from central_command.http.app import create_app
from central_command.http.endpoints.exports import ExportReport, ExportState
from central_command.http.requests.replies import Reply
from central_command.http.settings import HttpSettings
from persistence.files.file_system import inline
from tests.archived_corpus import archive_corpus, out_of_reach
from tests.central_command.exporting.conftest import make
from tests.central_command.http.description.test_openapi import check_described
from tests.corpus_maker import put_sessions, session
from tests.running_service import Running, running, settings_with
from tests.submitted_texts import leave_token

EXPORTS = "/api/exports"


class Asked:
    """A running service behind its HTTP application, with exports that nobody makes, and a token of their scope."""

    def __init__(self, run: Running, **settings: Any) -> None:
        self.run = run
        self.token, _ = leave_token(run.root, "export", now=run.clock.now)
        self.queue = ExportQueue(
            settings_with(export=settings), run.root, clock=run.clock, random_bytes=os.urandom, offload=inline
        )
        own = settings_with(export=settings).export
        exports = offered(self.queue, own, run.root, run.service._gate, run.service.access.audit)
        self.corpus: Any = exports.corpus
        app = create_app(run.service, HttpSettings(), schema=SchemaSettings(), clock=run.clock, exports=exports)
        self.client: Any = app.test_client()

    async def send(self, method: str, path: str, data: bytes = b"", *, token: str | None = None) -> Any:
        sent = {"Authorization": f"Bearer {self.token if token is None else token}"}
        answer = await getattr(self.client, method)(path, headers=sent, **({"data": data} if data else {}))
        answer.body = await answer.get_data()
        return answer

    async def ask(self, *formats: str, **members: Any) -> Any:
        return await self.send("post", EXPORTS, json.dumps({"formats": formats, **members}).encode())


@asynccontextmanager
async def serving(root: Path, **settings: Any) -> AsyncIterator[Asked]:
    await put_sessions(root, [session(number) for number in range(3)])
    async with running(root) as run:
        yield Asked(run, **settings)


def described(answer: Any, method: str, path: str = EXPORTS) -> Any:
    headers = {name: answer.headers[name] for name in ("WWW-Authenticate", "Retry-After") if name in answer.headers}
    check_described(method, path, Reply(answer.status_code, answer.body, tuple(headers.items())))
    return json.loads(answer.body)


async def test_an_export_is_asked_for_shown_and_its_files_are_handed_out(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.ask("jsonl", selection={"dedup": "none"}, options={"explain": True})
        assert answer.status_code == 202
        export = described(answer, "post")
        assert (export["state"], export["formats"], export["rows"]) == ("waiting", ["jsonl"], None)
        path = f"{EXPORTS}/{export['id']}"
        assert described(await server.send("get", EXPORTS), "get") == {"exports": [export]}
        assert (await server.send("get", f"{path}/files/manifest.json")).status_code == 404
        make(tmp_path, tmp_path / "exports" / export["folder"], "jsonl", dedup="none", explain=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.queue.run)
            with trio.fail_after(30):
                while server.queue.reports()[0].state is not ExportState.DONE:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        done = described(await server.send("get", path), "get", f"{EXPORTS}/{{export_id}}")
        assert (done["state"], done["rows"], done["kept"]) == ("done", 3, 3)
        file = await server.send("get", f"{path}/files/jsonl/train-00000.jsonl")
        assert file.body == (tmp_path / "exports" / export["folder"] / "jsonl" / "train-00000.jsonl").read_bytes()
        assert file.headers["Content-Length"] == str(len(file.body))
        for name in (
            "..%2f..%2fkeys%2fmaster.key",
            "../manifest.json",
            "jsonl",
            "%00",
            ".unfinished/lock",
            "/etc/passwd",
        ):
            assert (await server.send("get", f"{path}/files/{name}")).status_code == 404, name
        deleted = await server.send("delete", path)
        assert described(deleted, "delete", f"{EXPORTS}/{{export_id}}") == done
        assert (await server.send("get", path)).status_code == 404
        assert list((tmp_path / "exports").iterdir()) == []


async def test_an_export_fails_while_an_archive_is_away_and_is_whole_when_it_is_back(tmp_path: Path) -> None:
    """Nothing is left out of it, and what could not be reached is not called unreadable."""
    archive = tmp_path / "archive"
    async with serving(tmp_path / "data") as server:
        await archive_corpus(server.run.root, archive)
        export = described(await server.ask("jsonl", selection={"dedup": "none"}), "post")
        with out_of_reach(archive):
            failed = await ended(server)
            assert failed.state is ExportState.FAILED
            assert str(archive) in str(failed.reason)
            assert str(failed.reason).endswith("make its archive reachable again.")
            assert failed.rows is None
            assert (await server.send("get", f"{EXPORTS}/{export['id']}/files/manifest.json")).status_code == 404
        assert await server.queue.retry(export["id"])
        done = await ended(server)
        assert (done.state, done.rows, done.kept, done.left_out) == (ExportState.DONE, 3, 3, {})


async def ended(server: Asked) -> ExportReport:
    """Have the queue make what waits; the export as it is then."""
    found = list[ExportReport]()
    is_over = trio.Event()

    def tell(report: ExportReport, _seconds: float) -> None:
        found.append(report)
        is_over.set()

    server.queue.ended = tell
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.queue.run)
        with trio.fail_after(60):
            await is_over.wait()
        nursery.cancel_scope.cancel()
    return found[0]


async def test_only_a_token_of_the_scope_may_ask(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        other, _ = leave_token(tmp_path, "intake", "read", "admin", now=server.run.clock.now)
        for method, path in (("post", EXPORTS), ("get", EXPORTS), ("get", f"{EXPORTS}/x"), ("delete", f"{EXPORTS}/x")):
            for token, status in (("cc_wrong", 401), (other, 403)):
                answer = await server.send(method, path, token=token)
                assert answer.status_code == status
                described(answer, method, path.replace("/x", "/{export_id}"))
        assert (await server.send("get", f"{EXPORTS}/x/files/manifest.json", token=other)).status_code == 403
        assert server.queue.reports() == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "name at least one format (formats);"),
        (b'{"formats":["jsonl"],"selection":{"text":["\\ud83d"]}}', "half of a character"),
        (b'{"formats":["jsonl"],"selection":{"limit":%s}}' % (b"9" * 400), "limit is 9999"),
        (b'{"formats":["no"]}', "there is no format 'no'"),
        (b'{"formats":["jsonl"],"selection":{"limit":1e400}}', ""),
        (b'{"formats":["jsonl"],"options":{"data_dir":"/"}}', "'data_dir' is no member"),
        (b'{"formats":' + b"[" * 5_000 + b"]" * 5_000 + b"}", ""),
    ],
)
async def test_what_cannot_be_asked_for_is_a_400_with_one_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    async with serving(tmp_path) as server:
        answer = await server.send("post", EXPORTS, data)
        assert answer.status_code == 400
        assert sentence in described(answer, "post")["error"]
        assert server.queue.reports() == []
        assert not (tmp_path / "exports").exists()


async def test_bounds_are_answered_as_such(tmp_path: Path) -> None:
    async with serving(tmp_path, waiting_max=1, kept_max=2) as server:
        assert (await server.ask("jsonl")).status_code == 202
        answer = await server.ask("jsonl")
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        described(answer, "post")
    async with serving(tmp_path, waiting_max=9, kept_max=1) as server:
        answer = await server.ask("jsonl")
        assert answer.status_code == 507
        described(answer, "post")


async def test_a_body_that_no_request_has_is_not_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.send("post", EXPORTS, b" " * 262_145)
        assert answer.status_code == 413
        described(answer, "post")

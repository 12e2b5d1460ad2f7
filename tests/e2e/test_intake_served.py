"""The intake of a real server: what was answered is on disk, and in the corpus once, whatever was killed when."""

import json
import time
from pathlib import Path
from typing import Any

from tests.curated import EMAIL, corpus_lines, corpus_rows
from tests.server_process import HANGS_AFTER_S, Answer, ServerProcess, run_command
from tests.submitted_texts import USER, body, record

NOT_YET = {"CENTRAL_COMMAND__CURATION__ENABLED": "false"}
AT_ONCE = {"CENTRAL_COMMAND__CURATION__ENABLED": "true", "CENTRAL_COMMAND__CURATION__POLL_INTERVAL_S": "0.05"}


def command(root: Path, *arguments: str) -> str:
    done = run_command(*arguments, "--data-dir", str(root / "data"), cwd=root)
    assert done.returncode == 0, done.stderr
    return done.stdout


class App:
    """An application with a token."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        self.server = server
        self.headers = {"Authorization": f"Bearer {token}"}

    def say(self, state: str) -> Answer:
        said = json.dumps({"user_id": USER, "state": state, "version": "1.0"}).encode()
        return self.server.post("/v1/intake/consent", said, self.headers)

    def submit(self, *contents: str) -> list[str]:
        answer = self.server.post("/v1/intake/records", body(record(each) for each in contents), self.headers)
        assert answer.status == 200, answer
        return [result["id"] for result in answer.members["results"] if result["accepted"]]


def texts(root: Path) -> list[tuple[Any, ...]]:
    return corpus_rows(root / "data", "SELECT record_id FROM texts ORDER BY n") if corpus_is_there(root) else []


def corpus_is_there(root: Path) -> bool:
    return (root / "data" / "corpus.db").exists()


def wait_for(root: Path, ids: list[str]) -> None:
    deadline = time.monotonic() + HANGS_AFTER_S
    while [record_id for (record_id,) in texts(root)] != ids:
        assert time.monotonic() < deadline, texts(root)
        time.sleep(0.02)


def test_what_was_answered_is_in_the_corpus_once_whatever_is_killed_when(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", settings=NOT_YET) as server:
        token = command(tmp_path, "token", "create", "--scope", "intake", "--name", "app").strip()
        app = App(server, token)
        assert app.submit("not asked") == []
        assert app.say("given").status == 200
        ids = app.submit(*(f"text {n} of {EMAIL}" for n in range(30)))
        assert len(ids) == 30
        server.kill()
    with ServerProcess(tmp_path / "data", settings=AT_ONCE) as server:
        app = App(server, token)
        ids += app.submit("sent while the first are curated")
        server.kill()
    with ServerProcess(tmp_path / "data", settings=AT_ONCE) as server:
        wait_for(tmp_path, ids)
        app = App(server, token)
        contents = [line["content"] for line in corpus_lines(tmp_path / "data")]
        assert contents == [*(f"text {n} of [EMAIL]" for n in range(30)), "sent while the first are curated"]
        assert app.say("withdrawn").status == 200
        assert app.submit("too late") == []
        wait_for(tmp_path, [])
        command(tmp_path, "token", "revoke", command(tmp_path, "token", "list").splitlines()[1].split("\t")[0])
        assert app.say("given").status == 401
        assert server.terminate() == 0
        assert (USER in server.said, token in server.said, EMAIL in server.said) == (False,) * 3
    assert command(tmp_path, "verify") == "all is well\n"

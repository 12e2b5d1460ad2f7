"""The judge behind a real HTTP server, asked by `curate` and by the server's curation process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from central_command.commands.cli import main
from central_command.curating.supervision import CurationProcess
from central_command.judging.openai_compatible import KEY_VARIABLE
from tests.curated import EMAIL, corpus_rows, leave_sessions
from tests.running_service import settings_with
from tests.signing_client import CONTRIBUTOR

KEY = "judge-key-of-this-test"
ENVIRONMENT = {KEY_VARIABLE: KEY, "COLUMNS": "200"}


class Server(ThreadingHTTPServer):
    """A judge of the tests: what it was sent, and how it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str]] = []
        self.answer_bytes = 0
        self.is_asked = threading.Event()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    """Answers well, or with so many bytes of nothing."""

    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shown = asked["messages"][1]["content"]
        self.server.requests.append((self.headers["Authorization"], shown))
        said = {"cognitive_target": "review", "quality": 60, "outcome": "unclear", "rationale": "Short."}
        judged = json.dumps({"judgements": [{"id": each["id"], **said} for each in json.loads(shown)]})
        body = json.dumps({"choices": [{"message": {"content": judged}}]}).encode()
        body = b" " * self.server.answer_bytes + body
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.is_asked.set()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def judge() -> Iterator[Server]:
    """Serve until left."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data directory with closed sessions and no corpus."""
    trio.run(leave_sessions, tmp_path / "data", "sess_a", "sess_b")
    return tmp_path / "data"


def run(root: Path, *arguments: str, url: str = "", **settings: str) -> Result:
    """Run a command on a data directory, with a judge there."""
    config = root.parent / "config.toml"
    lines = [f'judge_url = "{url}"'] * bool(url) + [
        'judge_model = "judge-a"',
        *(f"{k} = {v}" for k, v in settings.items()),
    ]
    config.write_text("\n".join(["[enrichment]", *lines]))
    return CliRunner().invoke(
        main, [*arguments, "--data-dir", str(root), "--config", str(config)], env=ENVIRONMENT, catch_exceptions=False
    )


def test_curate_asks_the_judge_last_and_show_prints_what_it_said(root: Path) -> None:
    with judge() as server:
        assert run(root, "curate", url=server.url).output == "2 record(s) made of 2 trajectories; 2 judged\n"
        assert run(root, "curate", "--all", url=server.url).output == "0 record(s) made of 2 trajectories; 0 judged\n"
    [(key, shown)] = server.requests
    assert key == f"Bearer {KEY}"
    assert "write to [EMAIL]" in shown
    assert not {EMAIL, CONTRIBUTOR, "sess_a"} & set(shown.split())
    told = run(root, "corpus", "show", "sess_b").output
    assert "judged\treview, 60 of 100, unclear, by judge-a: Short.\n" in told
    assert json.loads(run(root, "corpus", "show", "sess_b", "--json").output)["judgement"]["quality"] == 60
    assert "judged\t2\n" in run(root, "corpus", "stats").output


def test_without_a_url_nobody_is_asked(root: Path) -> None:
    assert run(root, "curate").output == "2 record(s) made of 2 trajectories\n"


def test_too_much_is_no_answer_and_nobody_there_neither(root: Path) -> None:
    """The records are made all the same, and are asked about by the next run."""
    with judge() as server:
        server.answer_bytes = 70_000
        assert run(root, "curate", url=server.url).output.endswith("made of 2 trajectories; 0 judged\n")
    assert run(root, "curate", url=server.url).output.endswith("; 0 judged\n")
    with judge() as server:
        run(root, "curate", url=server.url)
        assert run(root, "curate", url=server.url).output.endswith("; 0 judged\n")
    assert corpus_rows(root, "SELECT count(*) FROM judgements") == [(2,)]


def test_the_key_is_in_no_file_and_no_output(root: Path) -> None:
    """Nor where the URL is none, which keeps nothing else up."""
    with judge() as server:
        results = [run(root, "curate", url=url) for url in (server.url, "ftp://judge", "http://user:secret@judge")]
    assert [result.exit_code for result in results] == [0, 0, 0]
    for result in results:
        assert KEY not in result.output
        assert "secret" not in result.output
    for path in root.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


async def test_the_servers_curation_process_asks_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with judge() as server:
        settings = settings_with(
            enrichment={"judge_url": server.url, "judge_model": "judge-a", "judge_interval_s": 0.05}
        )
        process = CurationProcess(settings, root, reached_n=lambda: 2, texts_n=lambda: 0, clock=lambda: 0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            assert await trio.to_thread.run_sync(server.is_asked.wait, 60)
            nursery.cancel_scope.cancel()
    assert {key for key, _ in server.requests} == {f"Bearer {KEY}"}

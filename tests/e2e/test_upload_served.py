"""`upload` and `watch` against a real server: every file whole, and once, however often either side is killed.

Nothing is scrubbed, so that what is held can be compared with what the files say.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from central_command.client.transcripts.providers import READERS
from tests.crash.acknowledged import lines_of
from tests.crash.consistency import check_stored, wait_until_projected
from tests.server_process import REPOSITORY, ServerProcess, environment, free_port, run_command

TRANSCRIPTS = REPOSITORY / "tests" / "transcripts"
CLAUDE_CODE = sorted(TRANSCRIPTS.glob("*.jsonl"))
SETTINGS = {
    "CENTRAL_COMMAND__SESSIONS__OPENS_PER_MACHINE_PER_H": "1000",
    "CENTRAL_COMMAND__SCHEMA__PROVIDERS": json.dumps(sorted(READERS)),
}
"""All files come from this one machine, and are of all agents that are read."""
END_S_MAX = 60.0


def server_on(folder: Path) -> ServerProcess:
    """A server that keeps its port when it is started again."""
    return ServerProcess(folder / "data", settings=SETTINGS, options=("--port", str(free_port())))


def own_directories(folder: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}


def upload(folder: Path, server: ServerProcess, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    done = run_command(
        "upload", "--no-scrub", *map(str, arguments), "--url", server.url, cwd=folder, settings=own_directories(folder)
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def start(folder: Path, server: ServerProcess, command: str, *arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "central_command", command, *map(str, arguments), "--url", server.url],
        cwd=folder,
        env=environment(own_directories(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Raw:
    """What stands in a Claude Code file, counted with nothing of the client's own code."""

    def __init__(self, path: Path) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.results: dict[str, tuple[str, bool]] = {}
        self.thoughts = 0
        for line in path.read_bytes().splitlines():
            event = json.loads(line)
            content = event.get("message", {}).get("content")
            for block in content if isinstance(content, list) else ():
                kind = block["type"]
                self.thoughts += kind == "thinking"
                self.thoughts += kind == "text" and event["type"] == "assistant" and bool(block["text"].strip())
                if kind == "tool_use":
                    self.calls.append((block["id"], block["name"], block["input"]))
                elif kind == "tool_result":
                    inner = block["content"]
                    text = inner if isinstance(inner, str) else "\n".join(part["text"] for part in inner)
                    self.results[block["tool_use_id"]] = (text, bool(block.get("is_error")))


def held(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The steps of each session's trajectory on the server's disk, by session."""
    wait_until_projected(root)
    trajectories = [json.loads(line) for line in lines_of(root, "trajectories")]
    found = {each["session_id"]: each["trajectory_log"] for each in trajectories}
    assert len(found) == len(trajectories)
    return found


def check_held_once(root: Path, files: list[Path]) -> None:
    """Each file is one session: all its calls in order, each once, each with its own result after it; nothing else.

    What is stored is also checked against itself.
    """
    sessions = {
        tuple(step["call_id"] for step in steps if step["type"] == "action"): steps for steps in held(root).values()
    }
    envelopes = [json.loads(line) for line in lines_of(root, "envelopes")]
    assert len({each["session_id"] for each in envelopes}) == len(sessions) == len(files)
    assert lines_of(root, "refused") == []
    for path in files:
        raw = Raw(path)
        steps = sessions[tuple(call[0] for call in raw.calls)]
        assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
        assert [(s["call_id"], s["tool"], s["arguments"]) for s in steps if s["type"] == "action"] == raw.calls
        acted = {step["call_id"]: step for step in steps if step["type"] == "action"}
        answers = [step for step in steps if step["type"] in {"observation", "error"} and "call_id" in step]
        assert len(answers) == len(raw.results)
        for step in answers:
            assert step["step"] > acted[step["call_id"]]["step"]
            assert step["tool"] == acted[step["call_id"]]["tool"]
            assert (step["content"], step["type"] == "error") == raw.results[step["call_id"]]
        types = Counter(step["type"] for step in steps)
        errors = sum(is_error for _, is_error in raw.results.values())
        notifications = sum(step.get("source") == "notification" for step in steps)
        assert types["thought"] == raw.thoughts
        assert types["error"] == errors
        assert types["observation"] - notifications == len(raw.results) - errors
    check_stored(root)


def test_a_whole_folder_is_delivered_and_every_call_has_its_result(tmp_path: Path) -> None:
    """All agents' files; only those that name no model fail, and say so. A second run sends nothing."""
    with server_on(tmp_path) as server:
        done = upload(tmp_path, server, TRANSCRIPTS)
        problems = re.findall(r"not delivered: (.*)", done.stdout)
        assert [each for each in problems if "names no model" not in each] == []
        if problems:
            assert done.returncode == 1
            named = upload(tmp_path, server, TRANSCRIPTS, "--model", "gemini-2.5-pro")
            assert (named.returncode, named.stderr) == (0, ""), named.stdout
        sessions = held(server.data_directory)
        mine = [[s.get("call_id") for s in steps if s["type"] == "action"] for steps in sessions.values()]
        for path in CLAUDE_CODE:
            assert mine.count([call[0] for call in Raw(path).calls]) == 1
        before = server.get("/v1/stats/summary").members
        again = upload(tmp_path, server, TRANSCRIPTS, "--model", "gemini-2.5-pro")
        assert again.returncode == 0, again.stdout
        assert "delivered" not in again.stdout.replace("not delivered", "")
        assert server.get("/v1/stats/summary").members == before
        check_stored(server.data_directory)


def test_real_sessions_are_held_as_they_are(tmp_path: Path) -> None:
    """The table names each with its points."""
    with server_on(tmp_path) as server:
        done = upload(tmp_path, server, *CLAUDE_CODE)
        assert done.returncode == 0, done.stdout + done.stderr
        check_held_once(server.data_directory, CLAUDE_CODE)
        points = server.get("/v1/stats/summary").members["totalPointsAwarded"]
        rows = re.findall(r"(\w+\.jsonl)\t(sess_\S+)\t(\d+)\t(\d+)\t([\d.]+)\tdelivered", done.stdout)
        assert len(rows) == len(CLAUDE_CODE)
        assert sum(float(row[4]) for row in rows) == points


class Proxy:
    """Passes bytes on to the server and kills a process in the middle: at the answer with number `kill_at`.

    The answer itself is passed on or lost, by turns.
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.answers = 0
        self.kill_at = 0
        self.victim: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._server.port))
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass_answers, args=(far, near), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        try:
            while part := source.recv(65_536):
                target.sendall(part)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _pass_answers(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while part := source.recv(65_536):
                with self._lock:
                    self.answers += part.count(b"HTTP/1.1 ")
                    is_time = bool(self.kill_at) and self.answers >= self.kill_at
                if is_time and self.kill_at % 2:
                    self._kill()
                target.sendall(part)
                if is_time:
                    self._kill()
        except OSError:
            pass
        finally:
            source.close()
            target.close()

    def _kill(self) -> None:
        if self.victim is not None:
            self.victim.kill()


@pytest.mark.parametrize("turn", range(2))
def test_killed_after_any_number_of_answers_and_run_again(tmp_path: Path, turn: int) -> None:
    """Each run lives for a few answers more; in the end each session is there once."""
    with server_on(tmp_path) as server:
        proxy = Proxy(server)
        try:
            kills = 0
            for run in range(40):
                proxy.answers, proxy.kill_at = 0, 1 + (run + turn) % 5
                proxy.victim = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "central_command",
                        "upload",
                        "--no-scrub",
                        *map(str, CLAUDE_CODE),
                        "--url",
                        proxy.url,
                    ],
                    cwd=tmp_path,
                    env=environment(own_directories(tmp_path)),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                _, stderr = proxy.victim.communicate(timeout=END_S_MAX)
                assert "Traceback" not in stderr
                if proxy.victim.returncode == 0:
                    break
                assert proxy.victim.returncode == -signal.SIGKILL, stderr
                kills += 1
            assert kills >= 3
            check_held_once(server.data_directory, CLAUDE_CODE)
        finally:
            proxy.close()


def test_the_server_is_killed_again_and_again_during_one_upload(tmp_path: Path) -> None:
    """The upload waits for it each time, and nothing is lost or there twice."""
    with server_on(tmp_path) as server:
        process = start(tmp_path, server, "upload", "--no-scrub", *CLAUDE_CODE, "--at-once", "2")
        kills = 0
        for lives in range(1, 4):
            deadline = time.monotonic() + END_S_MAX
            while len(lines_of(server.data_directory, "envelopes")) < lives and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)  # another process's file: nothing to wait on
            kills += process.poll() is None
            server.kill()
            server.start()
        output, _ = process.communicate(timeout=END_S_MAX)
        assert process.returncode == 0, output
        assert kills >= 2
        check_held_once(server.data_directory, CLAUDE_CODE)


def test_two_uploads_of_the_same_files_at_once_send_each_once(tmp_path: Path) -> None:
    """What one is sending, the other leaves to it and says so; afterwards everything is there."""
    with server_on(tmp_path) as server:
        processes = [start(tmp_path, server, "upload", "--no-scrub", *CLAUDE_CODE) for _ in range(2)]
        for process in processes:
            output, _ = process.communicate(timeout=END_S_MAX)
            assert "Traceback" not in output
            assert process.returncode == 0 or "another program is sending this session" in output
        assert upload(tmp_path, server, *CLAUDE_CODE).returncode == 0
        check_held_once(server.data_directory, CLAUDE_CODE)


class Unread:
    """A pipe that nobody reads: what is written to it fails."""

    def __enter__(self) -> int:
        reader, self._writer = os.pipe()
        os.close(reader)
        return self._writer

    def __exit__(self, *_: object) -> None:
        os.close(self._writer)


def run_unread(folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
    """Run a command of whose output, and errors, nobody reads a line."""
    with Unread() as output:
        return subprocess.run(
            [sys.executable, "-m", "central_command", *map(str, arguments)],
            cwd=folder,
            env=environment(own_directories(folder)),
            stdout=output,
            stderr=output,
            timeout=END_S_MAX,
            check=False,
        )


def test_what_works_goes_on_when_nobody_reads_its_output(tmp_path: Path) -> None:
    """An upload leaves no session open; what comes of it decides the exit status, of `verify` and a backup, too."""
    with server_on(tmp_path) as server:
        done = run_unread(tmp_path, "upload", "--no-scrub", *CLAUDE_CODE, "--url", server.url)
        assert done.returncode == 0
        check_held_once(server.data_directory, CLAUDE_CODE)
        (tmp_path / "wrong.jsonl").write_text("no json")
        assert run_unread(tmp_path, "upload", tmp_path / "wrong.jsonl", "--url", server.url).returncode == 1
        data = ("--data-dir", server.data_directory)
        assert run_unread(tmp_path, "verify", *data).returncode == 0
        assert run_unread(tmp_path, "backup", tmp_path / "backup", *data).returncode == 0
        assert (tmp_path / "backup" / "manifest.json").exists()


def test_what_only_prints_ends_quietly_when_nobody_reads_it(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        assert upload(tmp_path, server, *CLAUDE_CODE).returncode == 0
        data = ("--data-dir", str(server.data_directory))
        for command in (
            ["upload", str(CLAUDE_CODE[0]), "--dry-run"],
            ["sessions", *data],
            ["mine"],
            ["stats", *data],
            ["consent", "show"],
        ):
            with Unread() as output:
                done = subprocess.run(
                    [sys.executable, "-m", "central_command", *command],
                    cwd=tmp_path,
                    env=environment(own_directories(tmp_path)),
                    stdout=output,
                    stderr=subprocess.PIPE,
                    timeout=END_S_MAX,
                    check=False,
                )
            assert (done.returncode, done.stderr) == (1, b""), command


def test_a_watch_goes_on_when_nobody_reads_its_output(tmp_path: Path) -> None:
    """Until it is interrupted, as ever."""
    folder = tmp_path / "projects"
    folder.mkdir()
    (folder / CLAUDE_CODE[0].name).write_bytes(CLAUDE_CODE[0].read_bytes())
    with server_on(tmp_path) as server, Unread() as output:
        command = ["watch", "--no-scrub", str(folder), "--chunk-s", "0", "--interval-s", "0.1", "--url", server.url]
        with subprocess.Popen(
            [sys.executable, "-m", "central_command", *command],
            cwd=tmp_path,
            env=environment(own_directories(tmp_path)),
            stdout=output,
            stderr=output,
        ) as process:
            deadline = time.monotonic() + END_S_MAX
            while not lines_of(server.data_directory, "envelopes"):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)  # another process's file: nothing to wait on
            process.send_signal(signal.SIGINT)
            assert process.wait(END_S_MAX) == 0


class Busy(BaseHTTPRequestHandler):
    """A Central Command that has no time."""

    def do_POST(self) -> None:
        """Ask to wait."""
        body = b'{"error":"Busy."}'
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def busy_on(port: int) -> Iterator[None]:
    """A server on `port` that asks everybody to wait."""
    with ThreadingHTTPServer(("127.0.0.1", port), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(tmp_path: Path, kind: signal.Signals) -> None:
    """Exit status 130 and no traceback, while it waits for a server that has no time; the next run delivers."""
    with server_on(tmp_path) as server:
        server.kill()
        with busy_on(int(server.url.rpartition(":")[2])):
            process = start(tmp_path, server, "upload", "--no-scrub", CLAUDE_CODE[0])
            assert process.stdout is not None
            while "waiting" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(kind)
            output, _ = process.communicate(timeout=END_S_MAX)
        assert process.returncode == 130
        assert "Interrupted. Run it again to go on" in output
        assert "Traceback" not in output
        server.start()
        assert upload(tmp_path, server, CLAUDE_CODE[0]).returncode == 0
        check_held_once(server.data_directory, CLAUDE_CODE[:1])


def test_watching_a_folder_until_ctrl_c(tmp_path: Path) -> None:
    """A session that grows is followed, also over a kill; when it is quiet it is closed; Ctrl-C ends it in order."""
    source = TRANSCRIPTS / "tool_heavy.jsonl"
    lines = source.read_bytes().splitlines(keepends=True)
    folder = tmp_path / "projects"
    folder.mkdir()
    path = folder / "session.jsonl"
    options = (folder, "--interval-s", "0.1", "--chunk-s", "0", "--quiet-s", "5")
    with server_on(tmp_path) as server:
        root = server.data_directory
        path.write_bytes(b"".join(lines[: len(lines) // 2]))
        process = start(tmp_path, server, "watch", "--no-scrub", *options)
        _wait(lambda: len(lines_of(root, "envelopes")) >= 1, process)
        process.kill()
        process.communicate()
        path.write_bytes(b"".join(lines))
        process = start(tmp_path, server, "watch", "--no-scrub", *options)
        assert process.stdout is not None
        while ", closed" not in (line := process.stdout.readline()):
            assert line, "it ended early"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=END_S_MAX)
        assert (process.returncode, "Traceback" in output) == (0, False), output
        assert "Stopped." in output
        check_held_once(root, [source])
        assert upload(tmp_path, server, path).stdout.count("already uploaded completely") == 1


def _wait(condition: Any, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + END_S_MAX
    while not condition():
        assert process.poll() is None, "it ended early"
        assert time.monotonic() < deadline
        time.sleep(0.02)  # another process's file: nothing to wait on


def test_a_dry_run_needs_no_server_and_leaves_nothing(tmp_path: Path) -> None:
    """Not even a directory."""
    done = run_command("upload", str(TRANSCRIPTS), "--dry-run", cwd=tmp_path, settings=own_directories(tmp_path))
    assert "long.jsonl" in done.stdout
    assert "Nothing was sent." in done.stdout
    assert list(tmp_path.iterdir()) == []

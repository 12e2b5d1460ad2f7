"""Files that harm whoever reads them, through the real commands: each is refused by its name and the rest goes on.

Nothing here may wait for another program, need more than `MEMORY_BYTES_MAX`, end with a traceback, or let through what
a terminal takes for a command. No server is asked: `upload --dry-run` reads as `upload` does.
"""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server_process import CLOSE, INGEST, OPEN, REPOSITORY, ServerProcess, run_command
from tests.signing_client import SigningClient, dumps

SESSION = REPOSITORY / "tests" / "transcripts" / "short.jsonl"
SESSION_STEPS = 8
MEMORY_BYTES_MAX = 768 * 1024**2
"""Of addresses, of which a command that reads nothing has 250 MB."""
TIMEOUT_S = 60
"""What hangs takes longer; the slowest of these takes 10 s on a busy machine."""
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MIB = 1024**2


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command in `folder`, bounded in time and memory; nothing that it says may steer a terminal."""
    settings = {f"XDG_{kind}_HOME": str(folder / "home" / kind.lower()) for kind in ("STATE", "CONFIG")}
    done = run_command(
        *arguments, cwd=folder, settings=settings, timeout_s=TIMEOUT_S, memory_bytes_max=MEMORY_BYTES_MAX
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert not STEERING.search(done.stdout + done.stderr)
    return done


def steps_in(done: "subprocess.CompletedProcess[str]") -> int:
    """How many steps a dry run would send."""
    (total,) = re.findall(r"^\d+ file\(s\)(?:\t\d+){3}\t(\d+)\t", done.stdout, re.MULTILINE)
    return int(total.replace(",", ""))


def make_socket(path: Path) -> None:
    """A socket; its path may be longer than a socket's address may be."""
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(f"/proc/self/fd/{(descriptor := os.open(path.parent, os.O_PATH))}/{path.name}")
        os.close(descriptor)


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "FIFO": (os.mkfifo, "a FIFO"),
    "socket": (make_socket, "a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a character device"),
}
"""What can stand where a file belongs, how it is made, and what it is called."""


def at_another_time(year: int) -> str:
    """The session's text as that of another session: the same steps at the same times would be a copy of it."""
    return SESSION.read_text().replace('"timestamp":"2026-', f'"timestamp":"{year}-')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a folder of sessions, of which one is good."""
    (tmp_path / "sessions").mkdir()
    shutil.copy(SESSION, tmp_path / "sessions" / "good.jsonl")
    return tmp_path


@pytest.mark.parametrize("named", ["sessions", "sessions/*", "sessions/**/*.jsonl"])
def test_what_is_no_file_is_said_by_name_and_the_rest_goes_on(folder: Path, named: str) -> None:
    """FIFOs, sockets, devices, links to nothing and to themselves, in a folder that contains itself twice."""
    sessions = folder / "sessions"
    for name, (make, _) in ODD.items():
        make(sessions / f"{name}.jsonl")
    (sessions / "loop.jsonl").symlink_to("loop.jsonl")
    (sessions / "nothing.jsonl").symlink_to("nowhere")
    for name in ("self", "again"):
        (sessions / name).symlink_to(".")
    done = run(folder, "upload", "--dry-run", named)
    assert done.returncode == 1
    assert steps_in(done) == SESSION_STEPS
    for name, (_, kind) in ODD.items():
        said = rf"/{name}\.jsonl:\n  not to be delivered: the file cannot be read: {kind} stands in its place\.\n"
        assert re.search(said, done.stderr)
    said = "not to be delivered: the file cannot be read"
    assert f"loop.jsonl:\n  {said}: Too many levels of symbolic links.\n" in done.stderr
    assert f"nothing.jsonl:\n  {said}: it is a link that leads nowhere.\n" in done.stderr
    *files, heading, _, _, _, _, _, sum_ = done.stderr.splitlines()
    assert len(files) == 2 * 5
    assert heading == "Would not be delivered:"
    assert re.fullmatch(r"Error: 5 of \d+ file\(s\) would not be delivered\.", sum_)


def test_a_name_may_be_any_bytes(folder: Path) -> None:
    """No UTF-8, escape sequences, direction overrides, 255 bytes: shown escaped and whole, and read as any other."""
    names = [b"\xff\x9b.jsonl", b"\x1b[31m\n\x07.jsonl", "\u202e\u009b.jsonl".encode(), b"n" * 249 + b".jsonl"]
    for year, name in enumerate(names, start=2021):
        shutil.copy(SESSION, os.fsencode(folder / "sessions") + b"/" + name)
        text = at_another_time(year)
        (folder / "sessions" / os.fsdecode(name)).write_text(text.replace('"sessionId"', '"formerId"'))
    os.mkfifo(os.fsencode(folder / "sessions") + b"/fifo \xff\x1b[2J " + b"n" * 230 + b".jsonl")
    done = run(folder, "upload", "--dry-run", "sessions")
    assert steps_in(done) == SESSION_STEPS * (1 + len(names))
    for shown in (r"\xff\x9b.jsonl", r"\x1b[31m\x0a\x07.jsonl", r"\u202e\x9b.jsonl", "n" * 30):
        assert shown in done.stdout
    said = "not to be delivered: the file cannot be read"
    assert f"sessions/fifo \\xff\\x1b[2J {'n' * 230}.jsonl:\n  {said}" in done.stderr
    for name in ("\udcff\x1b[2J.gone", "[\udcff].gone", "~nobody\udcff/x", "n" * 300):
        assert run(folder, "upload", "--dry-run", name).returncode in {1, 2}


def _one_long_line(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"type":"user","message":{"role":"user","content":"' + b"x" * (60 * MIB) + b'"}}\n')


def _dense(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"type":"user","message":{"role":"user","content":[' + b"{}," * (5 * MIB) + b"{}]}}\n")


def _without_an_end(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"type":"user","message":"')
        file.truncate(900 * MIB)  # bytes that are 0


def _nested(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"a":' * 1_000_000 + b"\n" + b"[" * 5_000_000 + b"\n")


def _numbers(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"type":"user","timestamp":' + b"9" * 10_000_000 + b"}\n")


def _empty_lines(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n" * 10_000_000)


HARMS = [_one_long_line, _dense, _without_an_end, _nested, _numbers, _empty_lines]


@pytest.mark.parametrize("harm", HARMS)
def test_what_stands_in_a_file_costs_bounded_memory(folder: Path, harm: Callable[[Path], None]) -> None:
    """Behind a good session: lines of 60 MB, dense ones, one without an end, nesting, huge numbers, empty lines."""
    harm(folder / "sessions" / "good.jsonl")
    done = run(folder, "upload", "--dry-run", "sessions")
    assert done.returncode == 0, done.stderr
    assert steps_in(done) == SESSION_STEPS


@pytest.mark.parametrize("text", [b'{"sessionId":"a","projectHash":"b","messages":[', b"", b"[" * 1000, b'"', b"\\"])
def test_a_file_that_is_one_text_costs_bounded_memory(folder: Path, text: bytes) -> None:
    """One JSON text over many lines is read as a whole, up to a bound."""
    path = folder / "sessions" / "one.json"
    path.write_bytes(text + b"\n" + b"{}," * (15 * MIB))
    done = run(folder, "upload", "--dry-run", "--provider", "gemini", "sessions/one.json")
    assert done.returncode == 1
    assert "one.json:\n  not to be delivered: the file holds no steps of a gemini session" in done.stderr


def test_ids_of_any_kind_are_kept(folder: Path) -> None:
    """An id and a model that are no text, or of a million characters."""
    for n, name in enumerate(("\\ud83d", "\\u0000\\u001b[2J", "x" * 1_000_000)):
        text = at_another_time(2021 + n)
        named = re.sub(r'"(sessionId|model)":"[^"]*"', rf'"\1":"{name}"'.replace("\\u", "\\\\u"), text)
        (folder / "sessions" / f"{n}.jsonl").write_text(named)
    done = run(folder, "upload", "--dry-run", "sessions")
    assert (done.returncode, steps_in(done)) == (0, 4 * SESSION_STEPS), done.stderr


def test_a_hundred_thousand_files_are_searched(folder: Path) -> None:
    """And one more is refused, before anything is read."""
    crowd = folder / "crowd"
    crowd.mkdir()
    for n in range(100_001):
        (crowd / f"{n}.jsonl").touch()
    done = run(folder, "upload", "--dry-run", "crowd")
    assert (done.returncode, "More than 100,000 files" in done.stderr) == (1, True)


def test_a_depth_of_folders_is_no_depth_of_calls(folder: Path) -> None:
    """Deeper than Python's stack, and deeper than a path may be long, which is said."""
    try:
        descriptor = os.open(folder / "sessions", os.O_RDONLY)
        for _ in range(1_500):  # of which 1,360 fit into a path
            os.mkdir("dd", dir_fd=descriptor)
            deeper = os.open("dd", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        os.close(descriptor)
        for named in ("sessions", "sessions/**/*.jsonl"):
            done = run(folder, "upload", "--dry-run", named)
            assert (done.returncode, steps_in(done)) == (1, SESSION_STEPS)
            assert os.strerror(errno.ENAMETOOLONG) in done.stderr
    finally:
        subprocess.run(["rm", "-r", str(folder / "sessions")], check=True)  # too deep for shutil, and so for pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ("sessions", "--config", "odd", "--data-dir", "sessions"),
        ("serve", "--config", "odd"),
        ("serve", "--data-dir", "odd"),
        ("backup", "odd", "--data-dir", "sessions"),
        ("restore", "odd"),
        ("restore", "sessions", "--data-dir", "odd"),
        ("watch", "odd"),
    ],
)
def test_settings_and_folders_must_be_what_they_are(folder: Path, arguments: tuple[str, ...]) -> None:
    """For every command: nothing is opened, and one sentence names it."""
    os.mkfifo(folder / "odd")
    done = run(folder, *arguments)
    assert (done.returncode, "'odd' is a FIFO." in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["state/central-command/spool.db", "config/central-command/machine_id"])
def test_what_a_client_keeps_must_be_files(folder: Path, name: str, odd: str) -> None:
    """The spool, and the ids that name it."""
    make, kind = ODD[odd]
    path = folder / "home" / name
    path.parent.mkdir(parents=True)
    make(path)
    dry = ["--dry-run"] if path.name == "spool.db" else []
    done = run(folder, "upload", "sessions", *dry)
    assert (done.returncode, f"{kind} stands in its place" in done.stderr) == (1, True), done.stderr
    assert f"/{path.name}" in done.stderr


def test_settings_have_a_size(folder: Path) -> None:
    """A file that is larger than any settings is not read."""
    with (folder / "large.toml").open("wb") as file:
        file.truncate(10**12)
    done = run(folder, "sessions", "--config", "large.toml", "--data-dir", "sessions")
    assert (done.returncode, "large.toml: this is larger than" in done.stderr) == (2, True)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one closed session, whose texts would steer a terminal, and a backup of it."""
    folder = tmp_path_factory.mktemp("stored")
    client = SigningClient("sess_hostile")
    evil = "a\x9b2J\x85\u202eb\u2066\x7f"
    with ServerProcess(folder / "data") as server:
        client.opened(server.post(OPEN, dumps(client.opening()).encode()).members["server_public_key"])
        assert server.post(INGEST, client.chunk_of([client.step(content=evil)], agent_id=evil)).status == 200
        assert server.post(CLOSE, dumps({"session_id": client.session_id}).encode()).status == 200
        assert server.terminate() == 0
    assert run(folder, "backup", "backup", "--data-dir", "data").returncode == 0
    return folder


def test_what_is_stored_cannot_steer_a_terminal(stored: Path) -> None:
    """Also on its way through a pipe, where `show --json` still means the same."""
    line = json.loads(run(stored, "show", "sess_hostile", "--json").stdout)
    assert line["trajectory_log"][0]["content"] == "a\x9b2J\x85\u202eb\u2066\x7f"
    for command in (["show", "sess_hostile", "--full"], ["sessions"], ["sessions", "--json"], ["stats"]):
        assert run(stored, *command).returncode == 0


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("sessions.db", (["sessions"], ["backup", "copy"])),
        ("ledger.db", (["verify"],)),
        ("trajectories", (["show", "sess_hostile"], ["verify"])),
        ("keys/master.key", (["serve"],)),
        ("lock", (["rebuild"],)),
    ],
)
def test_what_is_no_file_in_a_data_directory_is_never_waited_for(
    stored: Path, tmp_path: Path, name: str, commands: tuple[list[str], ...]
) -> None:
    """A FIFO in the place of each of its files: a sentence and a status."""
    shutil.copytree(stored / "data", tmp_path / "data")
    path = tmp_path / "data" / name
    path = next(path.iterdir()) if path.is_dir() else path
    path.unlink()
    os.mkfifo(path)
    for command in commands:
        done = run(tmp_path, *command, "--data-dir", "data")
        assert done.returncode in {1, 2, 3, 5}, command
        assert re.search(rf"{path.name}|FIFO", done.stdout + done.stderr), command
        assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("name", "odd"),
    [("manifest.json", "FIFO"), ("sessions.db", "socket"), ("envelopes", "FIFO"), ("envelopes", "link")],
)
def test_what_is_no_file_in_a_backup_is_refused(stored: Path, tmp_path: Path, name: str, odd: str) -> None:
    """By its name, in one sentence, and nothing is restored."""
    make, kind = (lambda path: path.symlink_to("elsewhere"), "a symbolic link") if odd == "link" else ODD[odd]
    shutil.copytree(stored / "backup", tmp_path / "backup")
    path = tmp_path / "backup" / name
    path = next(path.iterdir()) if path.is_dir() else path
    path.unlink()
    make(path)
    done = run(tmp_path, "restore", "backup", "--data-dir", "again")
    assert done.returncode == 2
    assert f"/{path.name}: {kind} stands in its place" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["backup"]


def test_a_file_of_a_backup_is_not_copied_before_its_size_is_right(stored: Path, tmp_path: Path) -> None:
    """Someone made it larger than any disk."""
    shutil.copytree(stored / "backup", tmp_path / "backup")
    os.truncate(tmp_path / "backup" / "sessions.db", 2**42)
    done = run(tmp_path, "restore", "backup", "--data-dir", "again")
    assert (done.returncode, "was changed after the backup was made" in done.stderr) == (3, True)


def test_a_manifest_that_is_nested_is_damage(stored: Path, tmp_path: Path) -> None:
    """Deeper than a decoder can go."""
    shutil.copytree(stored / "backup", tmp_path / "backup")
    (tmp_path / "backup" / "manifest.json").write_bytes(b'{"version":1,"a":' + b"[" * 1_000_000)
    done = run(tmp_path, "restore", "backup", "--data-dir", "again")
    assert (done.returncode, "manifest.json is damaged" in done.stderr) == (3, True)

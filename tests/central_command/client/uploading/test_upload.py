"""The command: what it prints, what it sends, and its exit status."""

import io
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from trio.testing import MockClock

from central_command.client.contract.identity import Identity
from central_command.client.spool.spool import Spool
from central_command.client.uploading import options as upload_options
from central_command.client.uploading import upload
from central_command.client.uploading.feeding import Surroundings
from central_command.client.uploading.history import History
from central_command.client.uploading.options import Options
from central_command.client.uploading.progress import Display
from central_command.client.uploading.sources import find_files
from central_command.client.uploading.upload import Uploader, upload_command


class Command:
    """Runs `upload` against the server in memory."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(upload_command, [str(argument) for argument in arguments])


@pytest.fixture
def command(fake_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command with its own configuration and state directories."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GROOVE_CENTRAL_URL", raising=False)
    monkeypatch.setattr(upload, "client_for", lambda _options: fake_server.client())
    return Command(fake_server)


def test_a_real_session_is_uploaded_whole(command: Command, transcripts: Path) -> None:
    """It says what was shifted, accepted and credited, without escape sequences where there is no terminal."""
    result = command.run(transcripts / "long.jsonl")
    assert result.exit_code == 0, result.output
    assert "483 steps by claude-opus-4-6" in result.output
    assert "times shifted forward by " in result.output
    assert "so that the last step is now; distances between steps are kept" in result.output
    assert "accepted: 5 of 5 envelopes, 483 of 483 steps" in result.output
    assert "credited: 12.5 points for 3 steps" in result.output
    assert "\x1b" not in result.output
    steps = [step for chunk in command.server.envelopes[:3] for step in chunk["trajectory_log"]]
    assert max(step["timestamp"] for step in steps) - min(step["timestamp"] for step in steps) == pytest.approx(
        4180.187, abs=0.1
    )
    contributor = command.server.envelopes[0]["contributor_id"]
    command.run(transcripts / "short.jsonl")
    assert command.server.envelopes[-3]["contributor_id"] == contributor


def test_one_file_that_holds_no_session_does_not_stop_the_others(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """It is named, the others go out, and the exit status is 1 with one sentence."""
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("not json\n")
    result = command.run(wrong, transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "its first lines are not JSON; --provider says whose file it is." in result.stdout
    assert "accepted: 3 of 3 envelopes, 8 of 8 steps" in result.stdout
    assert result.stderr.strip() == "Error: 1 of 2 file(s) were not delivered whole."


def test_a_refusal_is_told_and_fails(command: Command, transcripts: Path) -> None:
    """With the server's reason."""
    command.server.refuse = lambda _envelope: "The model is unknown."
    result = command.run(transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "not delivered: Chunk 1 was refused: The model is unknown." in result.stdout


def test_a_server_out_of_reach_ends_the_whole_upload(command: Command, transcripts: Path) -> None:
    """Files after the first are not tried, and that is said."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    command.server.faults.extend([refuse] * 9)
    files = [transcripts / f"{name}.jsonl" for name in ("short", "long", "subagent")]
    result = command.run(*files, "--at-once", "1")
    assert result.exit_code == 1
    assert "the server's certificate is not trusted" in result.stdout
    assert "2 more file(s) were not tried" in result.stdout
    assert len(command.server.requests) == 1
    assert "3 of 3 file(s)" in result.stderr


def test_a_file_without_a_model_needs_one(command: Command, tmp_path: Path) -> None:
    """`--model` names it; without times every step carries that of the upload."""
    path = tmp_path / "session.jsonl"
    path.write_text(json.dumps({"type": "user", "uuid": "1", "sessionId": "s", "message": {"content": "hello"}}))
    assert "names no model; say which one it was with --model NAME" in command.run(path).output
    result = command.run(path, "--model", "o3", "--contributor-id", "AB" * 16)
    assert result.exit_code == 0, result.output
    assert "the file holds no times" in result.output
    assert command.server.envelopes[0]["metadata"]["model_engine"] == "o3"
    assert command.server.envelopes[0]["contributor_id"] == "ab" * 16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--url", "ftp://x"], "no URL of a server"),
        (["--url", "http://"], "no URL of a server"),
        (["--contributor-id", "xyz"], "32 hexadecimal digits"),
        (["--provider", "other"], "'other' is not"),
        (["nowhere.jsonl"], "does not exist"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(
    command: Command, transcripts: Path, arguments: list[str], says: str
) -> None:
    """Before anything is sent."""
    result = command.run(transcripts / "short.jsonl", *arguments)
    assert result.exit_code in {1, 2}
    assert says in result.output
    assert command.server.requests == []


async def test_a_terminal_shows_progress_and_waits(
    fake_server: Any, identity: Identity, transcripts: Path, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Bars for a file and for all move on standard error; a wait names its reason, in which nothing is markup."""

    async def busy(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": "Busy [/red] now."}, headers={"Retry-After": "5"})

    fake_server.faults.append(busy)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    files = find_files([str(transcripts / "short.jsonl"), str(transcripts / "subagent.jsonl")])
    with (
        Spool(tmp_path / "spool.db") as spool,
        closing(History(spool, tmp_path / "uploads.lock", url="http://server.test")) as history,
    ):
        async with fake_server.client() as client:
            uploader = Uploader(
                client, history, identity, Options(), console=console, surroundings=Surroundings(jitter=lambda: 0.5)
            )
            assert await uploader.upload(files) == 0
    for text in ("short.jsonl", "all", "Busy [/red] now."):
        assert text in screen.getvalue()


def test_a_bar_moves_while_the_file_is_read_and_then_with_what_was_accepted() -> None:
    """In megabytes first, then in steps."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with Display(console, files=1) as display, display.file("large.jsonl", size=200_000_000) as bar:
        for size in (1_000, 50_000_000, 200_000_000):
            bar.read(size)
            display.refresh()
        bar.begin(steps=1_000, done=200)
        display.refresh()
        bar.advance(300)
        display.refresh()
    shown = re.findall(r"[\d.]+/[\d.]+ +(?:MB|steps)", screen.getvalue())
    assert [" ".join(each.split()) for each in dict.fromkeys(shown)] == [
        *("0/200 MB", "50/200 MB", "200/200 MB", "200/1000 steps", "500/1000 steps")
    ]


def test_help_says_what_it_is_for() -> None:
    """Also to someone who has never seen it."""
    output = CliRunner().invoke(upload_command, ["--help"]).output
    assert "~/.claude/projects" in output
    for option in (
        "--url",
        "--provider",
        "--contributor-id",
        "--model",
        "--insecure",
        "--at-once",
        "--no-resume",
        "--dry-run",
    ):
        assert option in output


def test_the_real_client_verifies_tls_unless_told_otherwise_and_skips_proxies_for_loopback() -> None:
    """Checked on the client that the command makes."""
    client = upload_options.client_for(Options(url="https://127.0.0.1:8443"))
    assert (client.trust_env, client.follow_redirects) == (False, False)
    assert upload_options.client_for(Options(url="https://example.org")).trust_env


def test_what_was_uploaded_completely_is_skipped_and_this_is_said(command: Command, transcripts: Path) -> None:
    """The table names its session again; `--no-resume` sends it anew, and after that it is skipped again."""
    command.run(transcripts / "short.jsonl")
    sent = len(command.server.requests)
    again = command.run(transcripts / "short.jsonl")
    assert again.exit_code == 0
    assert "already uploaded completely: skipped" in again.stdout
    assert command.server.envelopes[0]["session_id"] in again.stdout
    assert len(command.server.requests) == sent
    anew = command.run(transcripts / "short.jsonl", "--no-resume")
    assert anew.exit_code == 0
    assert len(command.server.requests) == 2 * sent
    assert command.server.envelopes[-1]["session_id"] != command.server.envelopes[0]["session_id"]
    assert "skipped" in command.run(transcripts / "short.jsonl").stdout
    assert len(command.server.requests) == 2 * sent


def test_a_copy_or_a_moved_file_is_the_same_session(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Known by what it holds, not by its path."""
    command.run(transcripts / "short.jsonl")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((transcripts / "short.jsonl").read_bytes())
    sent = len(command.server.requests)
    assert "already uploaded completely" in command.run(copy).stdout
    assert len(command.server.requests) == sent


def test_a_file_that_has_grown_sends_only_its_new_steps_as_a_further_session(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """It says so, on the terminal and in its metadata; its steps are numbered from 1."""
    lines = (transcripts / "long.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "growing.jsonl"
    path.write_bytes(b"".join(lines[:900]))
    assert command.run(path).exit_code == 0
    first = command.server.envelopes[0]["session_id"]
    before = sum(len(each.get("trajectory_log", ())) for each in command.server.envelopes)
    path.write_bytes(b"".join(lines))
    result = command.run(path)
    assert result.exit_code == 0, result.output
    assert f"{before} of its steps were sent before" in result.stdout
    assert "the new steps become a further session" in result.stdout
    assert "continues the one before" in result.stdout
    further = [each for each in command.server.envelopes if each["session_id"] != first]
    steps = [step for each in further for step in each.get("trajectory_log", ())]
    assert [step["step"] for step in steps] == list(range(1, 483 - before + 1))
    assert {each["metadata"]["continues_session"] for each in further if "metadata" in each} == {first}
    calls = [
        step["call_id"]
        for each in command.server.envelopes
        for step in each.get("trajectory_log", ())
        if step["type"] == "action"
    ]
    assert len(calls) == len(set(calls)) == 186


def test_a_refusal_is_remembered(command: Command, transcripts: Path) -> None:
    """The next run says it again without asking the server; `--no-resume` tries anew."""
    command.server.refuse = lambda _envelope: "The model is unknown."
    command.run(transcripts / "short.jsonl")
    sent = len(command.server.requests)
    again = command.run(transcripts / "short.jsonl")
    assert again.exit_code == 1
    assert "not delivered: Chunk 1 was refused: The model is unknown." in again.stdout
    assert "--no-resume sends the file anew" in again.stdout
    assert len(command.server.requests) == sent
    command.server.refuse = lambda _envelope: None
    assert command.run(transcripts / "short.jsonl", "--no-resume").exit_code == 0


def test_a_folder_is_searched_and_what_is_no_session_is_passed_over(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """The same file named itself is a failure."""
    folder = tmp_path / "projects"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.jsonl").write_bytes((transcripts / "short.jsonl").read_bytes())
    (folder / "package.json").write_text('{"name": "x"}')
    (folder / "readme.md").write_text("no")
    result = command.run(folder)
    assert result.exit_code == 0, result.output
    assert "1 file(s) in the folders are no sessions" in result.stdout
    assert len(command.server.envelopes) == 3
    assert command.run(folder, folder / "package.json").exit_code == 1


def test_a_dry_run_contacts_nobody_and_writes_nothing(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Its figures are those of the upload that follows; after that it says that nothing is left."""

    def everything() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    files = [transcripts / "long.jsonl", transcripts / "short.jsonl"]
    planned = command.run(*files, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert (command.server.requests, everything()) == ([], {})
    assert "186 action" in planned.stdout
    command.run(*files)
    bodies = command.server.ingested()
    sums = re.search(r"2 file\(s\) +(\d+) +(\d+) +([\d,]+) +(\d+)", planned.stdout)
    assert sums is not None
    assert (sums[1], sums[2], sums[4]) == ("2", str(len(bodies)), str(483 + 8))
    # Times have as many digits as they happen to have at that moment.
    assert int(sums[3].replace(",", "")) == pytest.approx(sum(map(len, bodies)), rel=1e-4)
    state, sent = everything(), len(command.server.requests)
    again = command.run(*files, "--dry-run")
    assert again.stdout.count("already uploaded completely") == 2
    assert (everything(), len(command.server.requests)) == (state, sent)

"""The command: what it prints, what it sends, and its exit status."""

import errno
import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import zstandard
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
from central_command.client.uploading.recognition import old_digest
from central_command.client.uploading.sources import find_files
from central_command.client.uploading.survey import survey
from central_command.client.uploading.upload import Uploader, upload_command
from central_command.commands.printing.contributions import contributions_listing


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
    monkeypatch.delenv("CENTRAL_COMMAND_URL", raising=False)
    monkeypatch.setattr(upload, "client_for", lambda _options: fake_server.client())
    return Command(fake_server)


def test_a_real_session_is_uploaded_whole(command: Command, transcripts: Path) -> None:
    """It says what was shifted, accepted and credited, without escape sequences where there is no terminal."""
    result = command.run(transcripts / "long.jsonl")
    assert result.exit_code == 0, result.output
    assert "483 steps by claude-opus-4-6" in result.output
    assert "times shifted forward by " in result.output
    assert "so that the last step is now; distances between steps are kept" in result.output
    assert "accepted: 4 of 4 envelopes, 483 of 483 steps" in result.output
    assert "credited: 12.5 points for 3 steps" in result.output
    assert "\x1b" not in result.output
    steps = [step for chunk in command.server.envelopes[:3] for step in chunk["trajectory_log"]]
    assert max(step["timestamp"] for step in steps) - min(step["timestamp"] for step in steps) == pytest.approx(
        4180.187, abs=0.1
    )
    contributor = command.server.envelopes[0]["contributor_id"]
    command.run(transcripts / "short.jsonl")
    assert command.server.envelopes[-2]["contributor_id"] == contributor


def test_one_file_that_holds_no_session_does_not_stop_the_others(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """It is named, the others go out, and the exit status is 1 with one sentence."""
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("not json\n")
    result = command.run(wrong, transcripts / "short.jsonl")
    assert result.exit_code == 1
    assert "its first lines are not JSON; --provider says whose file it is." in result.stdout
    assert "accepted: 2 of 2 envelopes, 8 of 8 steps" in result.stdout
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
    assert "2 more file(s) were not tried, because the server cannot be reached." in result.stdout
    assert len(command.server.requests) == 1
    assert "3 of 3 file(s)" in result.stderr


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            httpx.Response(429, json={"error": "Too many."}, headers={"Retry-After": "86400"}),
            "the server asks for time (429): run it again to go on.",
        ),
        (httpx.Response(404, text="<html>"), "the server answers with status 404."),
    ],
)
def test_a_server_that_answers_is_not_said_to_be_out_of_reach(
    command: Command, transcripts: Path, answer: httpx.Response, why: str
) -> None:
    """What was not tried, was not because of what it answered last."""

    async def fault(_request: httpx.Request) -> httpx.Response:
        return answer

    command.server.faults.append(fault)
    files = [transcripts / f"{name}.jsonl" for name in ("short", "long", "subagent")]
    result = command.run(*files, "--at-once", "1")
    assert result.exit_code == 1
    assert f"2 more file(s) were not tried, because {why}" in result.stdout


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            None,
            "nothing listens at http://server.test (connection refused); start the server (`central-command serve`)",
        ),
        (
            httpx.Response(501, text="<html>"),
            "what answers at http://127.0.0.1:8443 is no Central Command (status 501)",
        ),
        (
            httpx.Response(404, text="<html>"),
            "what answers at http://127.0.0.1:8443 is no Central Command (status 404)",
        ),
    ],
)
def test_the_first_contact_fails_at_once(
    command: Command, transcripts: Path, answer: httpx.Response | None, says: str
) -> None:
    """In one sentence that says what to set, and nothing is tried again: nobody was ever there."""

    async def fail(request: httpx.Request) -> httpx.Response:
        if answer is None:
            raise httpx.ConnectError("failed", request=request) from ConnectionRefusedError(errno.ECONNREFUSED, "no")
        return answer

    command.server.faults.extend([fail] * 9)
    result = command.run(transcripts / "short.jsonl", transcripts / "long.jsonl", "--at-once", "1")
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if "not delivered: " in line]
    assert says in line
    assert "--url or GROOVE_CENTRAL_URL" in line
    assert len(command.server.requests) == 1
    assert "waiting" not in result.output


def test_either_variable_says_where_the_server_is(
    command: Command, monkeypatch: pytest.MonkeyPatch, transcripts: Path
) -> None:
    """The contract's own name wins."""
    seen: list[str] = []

    def client_for(options: Options) -> httpx.AsyncClient:
        seen.append(options.url)
        return command.server.client()  # type: ignore[no-any-return]

    monkeypatch.setattr(upload, "client_for", client_for)
    monkeypatch.setenv("CENTRAL_COMMAND_URL", "http://one.test/")
    command.run(transcripts / "short.jsonl")
    monkeypatch.setenv("GROOVE_CENTRAL_URL", "http://two.test")
    command.run(transcripts / "short.jsonl")
    assert seen == ["http://one.test", "http://two.test"]


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
        (["--url", "http://h:99999"], "a port is a number from 1 to 65535"),
        (["--ca", __file__, "--insecure"], "use one of them"),
        (["--ca", __file__], "holds no certificates in PEM format"),
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


def test_what_was_credited_stays_credited_when_its_file_is_sent_anew(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """In `mine`, whose sum is then the server's; so does a session that was refused, with its own reason."""
    command.run(transcripts / "short.jsonl")
    command.server.refuse = lambda _envelope: "The model is unknown."
    command.run(transcripts / "long.jsonl")
    command.server.refuse = lambda _envelope: None
    assert command.run(transcripts / "short.jsonl", transcripts / "long.jsonl", "--no-resume").exit_code == 0
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        sessions = spool.sessions_to(Options().url, limit=9)
        assert spool.totals_to(Options().url).points == 12.5 * 4, "the server closes what it refused, too"
    rows = [line.split("\t") for line in contributions_listing(sessions).lines() if line.startswith("sess_")]
    by_file = sorted((row[1], row[3], row[7]) for row in rows)
    assert by_file == [
        ("long.jsonl", "delivered", ""),
        ("long.jsonl", "not whole", "Chunk 1 was refused: The model is unknown."),
        ("short.jsonl", "delivered", ""),
        ("short.jsonl", "delivered", ""),
    ]


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


def test_what_was_refused_without_consent_is_sent_once_it_is_given_again(command: Command, transcripts: Path) -> None:
    """The server is asked whether it is, once for all files, and nothing else is until then."""
    server, files = command.server, [transcripts / "short.jsonl", transcripts / "tool_heavy.jsonl"]
    server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
    server.refuse = lambda _envelope: "The contributor has withdrawn their consent."
    for _ in range(2):
        refused = command.run(*files)
        assert refused.exit_code == 1
        assert refused.stdout.count("not delivered: Nothing more is taken: the contributor has withdrawn") == 2
        assert refused.stdout.count("once you have given consent again: central-command contributor give") == 2
        assert "--no-resume" not in refused.stdout
    opened = len(server.bodies("/v1/sessions/open"))
    assert (opened, server.consent_asked) == (2, 1), "the second run opened nothing, and asked once"
    server.consent, server.refuse = "given", lambda _envelope: None
    result = command.run(*files)
    assert result.exit_code == 0, result.output
    assert "accepted: 2 of 2 envelopes, 8 of 8 steps" in result.stdout
    assert "continues" not in result.stdout, "of the first sessions the server has nothing"
    assert command.run(*files).stdout.count("already uploaded completely") == 2


def test_a_session_in_the_midst_of_which_consent_was_withdrawn_goes_on_in_a_further_one(
    command: Command, transcripts: Path
) -> None:
    server = command.server
    server.consent, server.refusal_code = "withdrawn", "consent_withdrawn"
    server.refuse = lambda each: "Withdrawn." if each.get("chunk_sequence") else None
    assert command.run(transcripts / "long.jsonl").exit_code == 1
    taken = sum(len(each.get("trajectory_log", ())) for each in server.envelopes)
    assert 0 < taken < 483
    server.consent, server.refuse = "given", lambda _envelope: None
    result = command.run(transcripts / "long.jsonl")
    assert result.exit_code == 0, result.output
    assert f"{taken} of its steps were sent before" in result.stdout
    assert sum(len(each.get("trajectory_log", ())) for each in server.envelopes) == 483


def test_of_who_was_erased_nothing_is_sent_again_and_no_way_is_named(command: Command, transcripts: Path) -> None:
    command.server.consent, command.server.refusal_code = "given", "contributor_erased"
    command.server.refuse = lambda _envelope: "The contributor's data was erased, and no more of it is taken."
    for _ in range(2):
        result = command.run(transcripts / "short.jsonl")
        assert "not delivered: Nothing more is taken: the contributor was erased at this server." in result.stdout
        assert "neither trying again nor --no-resume will help" in result.stdout
    assert len(command.server.bodies("/v1/sessions/open")) == 1


@pytest.mark.parametrize(
    ("state", "mode", "is_held"),
    [
        ("none", "required", True),
        ("outdated", "client", True),
        ("none", "client", False),
        ("given", "required", False),
        (None, "required", False),
    ],
)
def test_what_waits_for_consent_is_said_once_at_the_end_as_the_server_says_it(
    command: Command,
    transcripts: Path,
    state: str | None,
    mode: str,
    is_held: bool,  # noqa: FBT001
) -> None:
    command.server.consent, command.server.consent_mode = state, mode
    files = [transcripts / "short.jsonl", transcripts / "tool_heavy.jsonl"]
    result = command.run(*files, "--url", "http://server.test")
    assert result.exit_code == 0
    assert result.stdout.count("central-command contributor give --url http://server.test") == is_held
    assert result.stdout.count("is held there, and not used, until you agree") == is_held


def test_a_folder_is_searched_and_what_is_no_session_is_named(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """With the reason, and the exit status says so; what agents keep beside their sessions is named, and no failure."""
    folder = tmp_path / "projects"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.jsonl").write_bytes((transcripts / "short.jsonl").read_bytes())
    (folder / "package.json").write_text('{"name": "x"}')
    (folder / "readme.md").write_text("no")
    (folder / "sessions-index.json").write_text('{"version": 1}')
    result = command.run(folder)
    assert result.exit_code == 1, result.output
    assert "package.json:\n  not delivered: no steps to upload: the file is no session file of" in result.stdout
    assert "sessions-index.json:\n  nothing to send: its name is that of a file that is kept beside" in result.stdout
    assert "Error: 1 of 2 file(s) were not delivered whole." in result.stderr
    assert len(command.server.envelopes) == 2
    (folder / "package.json").unlink()
    assert command.run(folder).exit_code == 0
    assert command.run(folder, folder / "sessions-index.json").exit_code == 1


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
    sums = re.search(r"2 file\(s\)\t(\d+)\t(\d+)\t(\d+)\t(\d+)", planned.stdout)
    assert sums is not None
    assert (sums[1], sums[2], sums[4]) == ("2", str(len(bodies)), str(483 + 8))
    # Times have as many digits as they happen to have at that moment.
    assert int(sums[3]) == pytest.approx(sum(map(len, bodies)), rel=1e-4)
    state, sent = everything(), len(command.server.requests)
    again = command.run(*files, "--dry-run")
    assert again.stdout.count("already uploaded completely") == 2
    assert (everything(), len(command.server.requests)) == (state, sent)


def test_a_session_whose_beginning_is_gone_is_the_same(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Wherever its file lies; and what is new in it becomes a further session."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    command.run(tmp_path / "a.jsonl")
    sent = len(command.server.requests)
    first = next(number for number, line in enumerate(lines) if b'"type":"user"' in line)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(b"".join(lines[first + 1 :]))
        assert "already uploaded completely" in command.run(tmp_path / name).stdout
    assert len(command.server.requests) == sent
    new = json.loads(lines[first]) | {"uuid": "new", "timestamp": "2027-01-01T00:00:00Z"}
    new["message"] = {"role": "user", "content": "something new"}
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[first + 1 :]) + json.dumps(new).encode())
    result = command.run(tmp_path / "b.jsonl")
    assert "the new steps become a further session" in result.stdout
    assert [step["content"] for step in command.server.envelopes[-2]["trajectory_log"]] == ["something new"]


def test_a_compressed_twin_is_not_sent_twice(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """In one run or in another, anew or not; a dry run counts it once, too."""
    text = (transcripts / "short.jsonl").read_bytes()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s.jsonl").write_bytes(text)
    (tmp_path / "in" / "s.jsonl.zst").write_bytes(zstandard.compress(text))
    planned = command.run(tmp_path / "in", "--dry-run").stdout
    assert (planned.count("already uploaded completely"), "2 file(s)" in planned) == (1, True)
    for arguments, sessions in (((), 1), ((), 1), (("--no-resume",), 2)):
        assert command.run(tmp_path / "in", *arguments).exit_code == 0
        assert len({each["session_id"] for each in command.server.envelopes}) == sessions


def test_what_an_earlier_version_sent_is_not_sent_again(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Its spool has another form, and knows steps and sessions by other digests."""
    command.run(transcripts / "short.jsonl")
    known = survey(transcripts / "short.jsonl", None)
    old = b"".join(old_digest(step) for step in known.steps())
    (path,) = tmp_path.rglob("spool.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        (state,) = connection.execute("SELECT source_state FROM sessions").fetchone()
        members = msgspec.msgpack.decode(state)
        members["taken"] = old
        del members["records"]
        source = f"{known.family}:{old[:8].hex()}"
        connection.execute(
            "UPDATE sessions SET source = ?, source_state = ?", (source, msgspec.msgpack.encode(members))
        )
        connection.execute("ALTER TABLE sessions DROP COLUMN close_answer")
        connection.execute("ALTER TABLE sessions DROP COLUMN contributor_id")
        connection.execute("PRAGMA user_version = 1")
    sent = len(command.server.requests)
    assert command.run(transcripts / "short.jsonl", "--dry-run").stdout.count("already uploaded completely") == 1
    assert "already uploaded completely" in command.run(transcripts / "short.jsonl").stdout
    assert len(command.server.requests) == sent


def test_a_dry_run_says_what_an_upload_says(command: Command, tmp_path: Path) -> None:
    """What is left out, shifted and wrong; and that the model has no factor, and how long all takes."""
    events = [
        {"type": "user", "uuid": str(n), "sessionId": "s", "timestamp": f"2025-01-01T00:0{n}:00Z", "message": message}
        for n, message in enumerate([{"role": "user", "content": "one"}, {"role": "user", "content": "two"}] * 2)
    ]
    events[2]["timestamp"] = "2038-01-19T03:14:07Z"
    lines = [*map(json.dumps, events), "no json"]
    (tmp_path / "s.jsonl").write_text("".join(f"{line}\n" for line in lines))
    planned = command.run(tmp_path / "s.jsonl", "--model", "some-model", "--dry-run").stdout
    uploaded = command.run(tmp_path / "s.jsonl", "--model", "some-model").stdout
    for text in (
        "4 steps by some-model (claude-code)",
        "1 unreadable line(s) left out",
        "1 step(s) have a wrong time, which is put between those of their neighbours",
        "times shifted forward by ",
    ):
        assert (text in planned, text in uploaded) == (True, True), text
    assert "the model some-model has no factor: its steps count 1 point each" in planned
    spelled = command.run(tmp_path / "s.jsonl", "--model", "anthropic/claude-opus-4.6", "--dry-run").stdout
    assert "has no factor" not in spelled
    assert "(1,000 new sessions an hour, 100 requests a minute), sending takes less than a minute at least" in planned
    log = command.server.envelopes[0]["trajectory_log"]
    assert [step["timestamp"] - log[0]["timestamp"] for step in log] == pytest.approx([0, 60, 120, 180], abs=0.01)
    assert [step.get("timestamp_adjusted") for step in log] == [None, None, True, None]
    shift_s = command.server.envelopes[0]["metadata"]["time_shift_s"]
    assert log[-1]["timestamp"] - shift_s == pytest.approx(1_735_689_780, abs=0.01)


def test_what_the_server_says_of_a_credit_is_printed(command: Command, transcripts: Path) -> None:
    """Copies, and a model that it has no factor for."""
    command.server.credit |= {"copied_steps": 2, "copied_from": "sess_x\x1b[2J", "model_tier": None}
    result = command.run(transcripts / "short.jsonl")
    assert "2 step(s) are a copy of what the server has of sess_x [2J: they earn nothing" in result.stdout
    assert "the server has no factor for the model claude-opus-4-6: it counts 1" in result.stdout


def test_a_run_in_which_nothing_is_found_fails(command: Command, tmp_path: Path) -> None:
    """An empty folder, and one with nothing but sessions without steps."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "s.jsonl").write_text('{"type":"file-history-snapshot","messageId":"1","snapshot":{}}\n')
    for more in ((), ("--dry-run",)):
        result = command.run(tmp_path / "empty", *more)
        assert (result.exit_code, "the folder holds no session file" in result.output) == (1, True)
        result = command.run(tmp_path / "blank", *more)
        assert (result.exit_code, "no file that was found holds a session" in result.stderr) == (1, True)


def test_a_fork_that_copied_its_history_sends_its_own_part(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """Under an id of its own, in any order, as a session of its own; its parent's part is sent with the parent."""
    lines = (transcripts / "tool_heavy.jsonl").read_bytes().splitlines(keepends=True)
    key = json.loads(next(line for line in lines if b'"sessionId"' in line))["sessionId"].encode()
    own: dict[str, Any] = {"type": "user", "uuid": "own", "sessionId": "fork", "timestamp": "2027-01-01T00:00:00Z"}
    own["message"] = {"role": "user", "content": "another way"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "in" / "b.jsonl").write_bytes(b"".join(lines).replace(key, b"fork") + json.dumps(own).encode())
    planned = command.run(tmp_path / "in", "--dry-run").stdout
    result = command.run(tmp_path / "in", "--at-once", "1")
    for said in (planned, result.stdout):
        assert "18 of its steps are a copy of another session, and were sent with that one: left out" in said
    logs = [each.get("trajectory_log", ()) for each in command.server.envelopes]
    assert sorted(map(len, logs)) == [0, 0, 1, 18]
    assert "skipped" in command.run(tmp_path / "in").stdout
    assert len({each["session_id"] for each in command.server.envelopes}) == 2
    (tmp_path / "c.jsonl").write_bytes(b"".join(lines).replace(key, b"whole"))
    whole = command.run(tmp_path / "c.jsonl")
    assert (whole.exit_code, "a copy of another session" in whole.stdout) == (0, True)


def logged(command: Command, since: int = 0) -> list[str]:
    """The texts of all steps that were sent, but for the first so many."""
    logs = (each.get("trajectory_log", ()) for each in command.server.envelopes)
    return [step["content"] for log in logs for step in log][since:]


def printed(key: str, day: int, *texts: str) -> str:
    """What a run of Claude Code printed on a day, under an id; of no day, without times; of no id, without."""
    lines = []
    for number, text in enumerate(texts):
        event: dict[str, Any] = {"type": "user", "uuid": f"{key}{number}", "message": {"role": "user", "content": text}}
        event |= {"sessionId": key} if key else {}
        event |= {"timestamp": f"2026-11-{day:02}T00:0{number}:00Z"} if day else {}
        lines.append(f"{json.dumps(event)}\n")
    return "".join(lines)


@pytest.mark.parametrize(
    ("key", "day", "texts"),
    [
        ("two", 21, ("task", "work", "done")),
        ("two", 21, ("task", "work", "other end")),
        ("two", 0, ("task", "work", "done")),
        ("", 21, ("task", "work", "done")),
    ],
)
def test_another_session_at_a_path_that_is_used_again_is_sent_whole(
    command: Command, tmp_path: Path, key: str, day: int, texts: tuple[str, ...]
) -> None:
    """A job that writes to the same file every night, and may say the same; each is sent once."""
    path = tmp_path / "stream.jsonl"
    options = ("--provider", "claude-code", "--model", "claude-opus-4-6")
    path.write_text(printed("one" if key else "", 20 if day else 0, "task", "work", "done"))
    assert command.run(path, *options).exit_code == 0
    for later in (0, 1):
        before = len(logged(command))
        path.write_text(printed(key and f"{key}{later}", day and day + later, *texts))
        assert command.run(path, *options).exit_code == 0
        assert logged(command, before) == list(texts)
        assert "already uploaded completely" in command.run(path, *options).stdout


def ran(*texts: str) -> str:
    """What `codex exec --json` printed of one thread: it has an id and no times."""
    items = [{"id": f"item_{n}", "type": "agent_message", "text": text} for n, text in enumerate(texts)]
    events: list[dict[str, Any]] = [{"type": "thread.started", "thread_id": "thread"}, {"type": "turn.started"}]
    events += [{"type": "item.completed", "item": item} for item in items]
    return "".join(f"{json.dumps(event)}\n" for event in events)


def test_a_resumed_thread_without_times_loses_no_step(command: Command, tmp_path: Path) -> None:
    """Its second run says the same in another order; what grew sends its new steps, a copy none."""
    options = ("--model", "gpt-5-codex")
    first, second, copy = (tmp_path / name for name in ("first.jsonl", "second.jsonl", "copy.jsonl"))

    def newly(path: Path, *texts: str) -> list[str]:
        before = len(logged(command))
        path.write_text(ran(*texts))
        result = command.run(path, *options)
        assert result.exit_code == 0, result.output
        return logged(command, before)

    assert newly(first, "look", "fix", "done") == ["look", "fix", "done"]
    assert newly(second, "fix", "done") == ["fix", "done"]
    assert newly(second, "fix", "done") == []
    assert newly(first, "look", "fix", "done", "look") == ["look"]
    assert newly(copy, "look", "fix", "done", "look") == []
    assert newly(first, "done", "fix") == ["done", "fix"]
    assert newly(first, "done", "fix", "look") == ["look"]

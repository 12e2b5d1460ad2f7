"""The command: what it prints, what it sends, and its exit status."""

import errno
import io
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from rich.console import Console
from trio.testing import MockClock

from central_command.client.contract.identity import Identity
from central_command.client.delivering.deliverer import Waiting
from central_command.client.spool.spool import Spool
from central_command.client.uploading import options as upload_options
from central_command.client.uploading import upload
from central_command.client.uploading.feeding import Surroundings
from central_command.client.uploading.history import History
from central_command.client.uploading.options import Options
from central_command.client.uploading.progress import Display, Printing
from central_command.client.uploading.sources import find_files
from central_command.client.uploading.upload import Uploader, upload_command
from tests.central_command.client.uploading.conftest import Command


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
    heading, why, sum_ = result.stderr.splitlines()
    assert heading == "Not delivered:"
    assert why.startswith("  1 file(s): no steps to upload: the file is no session file of ")
    assert why.endswith("; --provider says whose file it is: wrong.jsonl")
    assert sum_ == "Error: 1 of 2 file(s) were not delivered whole."


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


def test_a_server_that_was_reached_again_is_not_said_to_be_out_of_reach(command: Command, transcripts: Path) -> None:
    """A file that was under way when another could not be sent may be delivered after all."""

    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    command.server.faults.append(refuse)
    files = [transcripts / f"{name}.jsonl" for name in ("short", "long", "subagent")]
    result = command.run(*files, "--at-once", "2")
    assert result.exit_code == 1
    assert command.server.envelopes
    assert "1 more file(s) were not tried, because the server could not be reached, or asked for time, meanwhile" in (
        result.stdout
    )


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
            httpx.Response(404, json={"error": "There is no such endpoint."}),
            "There is no such endpoint; --url or GROOVE_CENTRAL_URL may name a server of another version",
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
    assert "sessions-index.json:\n  nothing to send: it holds no session, and its name is that of" in result.stdout
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
    assert "(1,000 new sessions an hour, 100 requests a minute), nothing has to wait." in planned
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
        assert result.stderr.splitlines()[-1] == "Error: 1 folder(s) hold no session file, or cannot be searched."
        result = command.run(tmp_path / "blank", *more)
        assert (result.exit_code, "no file that was found holds a session" in result.stderr) == (1, True)


def test_a_quiet_upload_says_what_failed_and_nothing_else(command: Command, transcripts: Path, tmp_path: Path) -> None:
    """On standard error, with the exit status of any other; but the first to a server says what it is taken as."""
    first = command.run(transcripts / "short.jsonl", "--quiet")
    assert (first.exit_code, first.stdout, first.stderr.count("\n")) == (0, "", 1)
    assert "is taken as your agreement to its terms" in first.stderr
    for options in ((), ("--dry-run",)):
        done = command.run(transcripts / "short.jsonl", transcripts / "long.jsonl", "--quiet", *options)
        assert (done.exit_code, done.output) == (0, ""), options
    (tmp_path / "wrong.jsonl").write_text("not json\n")
    failed = command.run(tmp_path / "wrong.jsonl", transcripts / "subagent.jsonl", "--quiet")
    file, why, sum_ = failed.stderr.splitlines()
    assert (failed.exit_code, failed.stdout, file) == (1, "", f"{tmp_path}/wrong.jsonl:")
    assert why.startswith("  not delivered: no steps to upload: ")
    assert sum_ == "Error: 1 of 2 file(s) were not delivered whole."
    planned = command.run(tmp_path / "wrong.jsonl", "--quiet", "--dry-run")
    assert (planned.exit_code, planned.stdout, planned.stderr.count("\n")) == (1, "", 3)
    assert planned.stderr.splitlines()[-1] == "Error: 1 of 1 file(s) would not be delivered."
    assert "  not to be delivered: no steps to upload: " in planned.stderr


def test_a_quiet_upload_says_why_more_was_not_tried(command: Command, transcripts: Path) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", request=request)

    command.server.faults.append(refuse)
    result = command.run(transcripts / "short.jsonl", transcripts / "long.jsonl", "--at-once", "1", "--quiet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the server's certificate is not trusted" in result.stderr
    assert "1 more file(s) were not tried, because the server cannot be reached." in result.stderr


def test_an_agent_that_a_server_may_not_take_is_named_once_and_what_to_do(command: Command, transcripts: Path) -> None:
    """Before it is tried, and where it was refused; a server that has it added says nothing."""
    files = [transcripts / "qwen_code" / f"{name}.jsonl" for name in ("stream", "chat")]

    async def refuse(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": "provider must be one of claude-code, codex, gemini."})

    says = "qwen-code: a server takes these only where its operator has added it to schema.providers"
    planned = command.run(*files, transcripts / "short.jsonl", "--dry-run")
    assert (planned.exit_code, planned.stdout.count(f"{says}.\n")) == (0, 1)
    assert "claude-code: a server" not in planned.stdout
    command.server.faults.extend([refuse] * 2)
    refused = command.run(*files)
    assert refused.exit_code == 1
    assert refused.stdout.count(f"{says}; ask for that, and upload them again then.\n") == 1
    taken = command.run(*files)
    assert (taken.exit_code, says in taken.output) == (0, False)


def test_a_dry_run_has_an_object_of_each_file_also_of_one_that_cannot_be_delivered(
    command: Command, transcripts: Path, tmp_path: Path
) -> None:
    """With the problem, as of an upload; not of a file of a folder that holds nothing."""
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("not json\n")
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "s.jsonl").write_text('{"type":"file-history-snapshot","messageId":"1","snapshot":{}}\n')
    for more in ((), ("--quiet",)):
        result = command.run(wrong, transcripts / "short.jsonl", tmp_path / "blank", "--json", "--dry-run", *more)
        first, second = map(json.loads, result.stdout.splitlines())
        assert (result.exit_code, first["file"], first["result"]) == (1, str(wrong), "not to be delivered")
        assert first["problem"].startswith("no steps to upload: the file is no session file")
        assert (second["problem"], second["sessions"]) == (None, 1)
    alone = command.run(wrong, "--json", "--dry-run")
    assert json.loads(alone.stdout)["problem"] == first["problem"]


def test_quiet_changes_nothing_of_the_json(command: Command, transcripts: Path) -> None:
    loud = command.run(transcripts / "short.jsonl", "--json", "--dry-run")
    quiet = command.run(transcripts / "short.jsonl", "--json", "--dry-run", "--quiet")
    known, said = json.loads(loud.stdout), json.loads(quiet.stdout)
    assert (said | {"bytes": known["bytes"]}, quiet.stderr) == (known, "")  # times have as many digits as they have
    assert "steps by" in loud.stderr
    sent = command.run(transcripts / "short.jsonl", "--json", "--quiet")
    assert json.loads(sent.stdout)["result"] == "delivered"


def test_a_quiet_display_shows_neither_bars_nor_waits(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal and elsewhere."""
    for is_terminal in (True, False):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=is_terminal)
        with (
            Display(console, files=2, printing=Printing(quiet=True)) as display,
            display.file("one.jsonl", size=9) as bar,
        ):
            bar.waiting(Waiting(5.0, 1, "Busy."))
            display.refresh()
            display.say(["one.jsonl: not delivered"])
        assert (screen.getvalue(), capsys.readouterr().err) == ("", "one.jsonl: not delivered\n")

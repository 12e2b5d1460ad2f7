"""`erase` as an operator meets it, and `restore --erasures`."""

from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from actors.consent.register import RegisterFailed
from actors.intake.desk import IntakeDesk
from actors.intake.reading import RecordRefusal, RefusedRecord, SubmittedRecord
from actors.sessions.outcomes import Accepted
from central_command.commands import cli
from persistence.files.lock import single_instance
from persistence.format.records import JournalName
from tests.running_service import running
from tests.signing_client import CONTRIBUTOR
from tests.submitted_texts import OTHER, USER, leave_texts

SESSION = "sess_of_the_one_who_goes_0123456789abcdef"


def run(*arguments: str) -> Result:
    """Run `central-command` with these arguments."""
    return CliRunner().invoke(cli.main, arguments)


async def _fill(root: Path) -> None:
    async with running(root) as service:
        client = await service.open(SESSION)
        assert isinstance(await service.send(client.chunk()), Accepted)


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in a folder with a data directory that holds one open session, and without settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CENTRAL_COMMAND_MASTER_KEY", raising=False)
    trio.run(_fill, tmp_path / "data")


def holding(root: str, text: str) -> list[str]:
    """The files that hold a text."""
    return [str(path) for path in Path(root).rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_contributor_is_erased_and_asked_again_it_is_the_same_request() -> None:
    done = run("erase", "--contributor", CONTRIBUTOR.upper())
    assert done.exit_code == 0, done.output
    assert "is done: erased lines: 2 of envelopes, 1 of trajectories" in done.output
    assert run("erase", "--contributor", CONTRIBUTOR).output == done.output
    assert holding("data", CONTRIBUTOR) == holding("data", SESSION) == []
    assert run("verify", "--deep").output.splitlines()[-1] == "all is well"
    assert run("erase", "--pending").output == ""


def test_a_session_is_erased_and_shown_no_more() -> None:
    assert run("erase", "--session", SESSION).exit_code == 0
    assert holding("data", SESSION) == []
    assert "There is no session" in run("show", SESSION).output
    shown = run("show", "erased_")
    assert shown.exit_code == 1
    assert "was erased, for the request er_" in shown.output


def test_a_session_that_there_is_not_is_said_to_be_none_and_nothing_is_asked() -> None:
    refused = run("erase", "--session", "sess_nobody")
    assert refused.exit_code == 1
    assert "there is no session sess_nobody here: nothing is erased" in refused.output
    assert not Path("data/erasures.jsonl").exists()


@pytest.mark.parametrize("named", ["sess_of_the_o", "of_the_one"])
def test_nothing_is_erased_by_the_beginning_of_an_id_and_the_whole_one_is_named(named: str) -> None:
    """As tables show it, with `sess_` or without."""
    refused = run("erase", "--session", named)
    assert refused.exit_code == 1
    assert f"nothing is erased; name it by its whole id, of those that begin so: {SESSION}" in refused.output
    assert not Path("data/erasures.jsonl").exists()
    assert holding("data", SESSION)


def test_a_session_that_was_erased_before_is_the_same_request() -> None:
    done = run("erase", "--session", SESSION)
    assert (done.exit_code, run("erase", "--session", SESSION).output) == (0, done.output)


def test_a_user_is_erased_and_has_withdrawn_and_asked_again_it_is_the_same_request() -> None:
    """As the endpoint does it: nothing of theirs is taken any more, and nothing of others is changed."""
    data = Path("data")
    theirs = trio.run(leave_texts, data, "one text of theirs", "another")
    trio.run(partial(leave_texts, user_id=OTHER), data, "of somebody else")
    done = run("erase", "--user", USER)
    assert done.exit_code == 0, done.output
    assert "is done: erased lines: 2 of intake" in done.output
    assert run("erase", "--user", USER).output == done.output
    assert [holding("data", text) for text in (USER, "of theirs", *theirs)] == [[]] * 4
    assert holding("data", "of somebody else")
    assert run("verify", "--deep").output.splitlines()[-1] == "all is well"
    text = SubmittedRecord(USER, "s", "prompt", b'"x"', b"{}")

    async def said_and_taken() -> None:
        async with running(data) as service:
            assert [line["state"] for line in service.lines(JournalName.CONSENT)[-3:]] == [
                "given",
                "given",
                "withdrawn",
            ]
            [refused] = await service.service.intake.desk.submit([text], token_id="tok_1")
            assert isinstance(refused, RefusedRecord)
            assert refused.code is RecordRefusal.ERASED

    trio.run(said_and_taken)


def test_a_user_whose_withdrawal_cannot_be_recorded_is_not_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_arguments: object) -> RegisterFailed:
        await trio.lowlevel.checkpoint()
        return RegisterFailed()

    monkeypatch.setattr(IntakeDesk, "withdraw", fail)
    refused = run("erase", "--user", USER)
    assert refused.exit_code == 2
    assert "nothing is erased: that the user withdraws could not be recorded" in refused.output
    assert run("erase", "--pending").output == ""


def test_what_keeps_it_from_being_done_is_said() -> None:
    Path("data/old.log").write_text(f"{SESSION} was here")
    hindered = run("erase", "--session", SESSION)
    assert hindered.exit_code == 1
    assert "is not done: something of it is left in old.log: remove it from there" in hindered.output
    Path("data/old.log").unlink()
    assert "is done" in run("erase", "--pending").output


def test_a_request_of_which_nothing_is_theirs_can_be_settled_and_no_other() -> None:
    chosen = "feedfacefeedfacefeedfacefeedface"
    Path("data/of_others.log").write_text(f"{chosen} {SESSION}")
    hindered = run("erase", "--contributor", chosen)
    assert hindered.exit_code == 1
    request = hindered.output.split()[0]
    settled = run("erase", "--settle", request)
    assert (settled.exit_code, settled.stdout) == (0, f"{request} is done: erased lines: none\n")
    assert "erasure_settled" in run("audit").output
    assert run("erase", "--settle", request).exit_code == 1, "it is done"
    theirs = run("erase", "--session", SESSION).output.split()[0]
    refused = run("erase", "--settle", theirs)
    assert refused.exit_code == 1
    assert "is not done: something of it is left in of_others.log" in refused.output


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--contributor", "c0ffee"),
        ("--session", "s", "--pending"),
        ("--contributor", CONTRIBUTOR, "--session", "s"),
        ("--user", USER, "--pending"),
        ("--settle", "er_0123456789abcdef", "--pending"),
        ("--user", USER, "--contributor", CONTRIBUTOR),
        ("--user", ""),
        ("--user", ".."),
        ("--user", "a/b"),
        ("--user", "u" * 129),
    ],
)
def test_what_is_not_one_thing_to_erase_is_refused(arguments: tuple[str, ...]) -> None:
    before = {path: path.read_bytes() for path in Path("data").rglob("*.jsonl")}
    assert run("erase", *arguments).exit_code == 2
    assert {path: path.read_bytes() for path in Path("data").rglob("*.jsonl")} == before


def test_beside_a_server_it_says_that_this_has_to_be_stopped() -> None:
    with single_instance(Path("data")):
        refused = run("erase", "--contributor", CONTRIBUTOR)
    assert refused.exit_code == 2
    assert "is in use" in refused.output


def test_restore_says_who_is_erased_again() -> None:
    assert run("backup", "copy", "--with-key").exit_code == 0
    assert run("erase", "--contributor", CONTRIBUTOR).exit_code == 0
    done = run("restore", "copy", "--data-dir", "again", "--erasures", "data/erasures.jsonl")
    assert done.exit_code == 0, done.output
    assert "does 1 request(s) for erasure again" in done.output
    assert holding("again", CONTRIBUTOR)
    assert "is done" in run("erase", "--pending", "--data-dir", "again").output
    assert holding("again", CONTRIBUTOR) == []


def test_what_is_past_its_time_is_erased_and_by_default_nothing_is() -> None:
    before = {path: path.read_bytes() for path in Path("data").rglob("*.jsonl")}
    done = run("expire")
    assert (done.exit_code, done.output) == (0, "past their time, and erased: nothing\n")
    assert {path: path.read_bytes() for path in Path("data").rglob("*.jsonl")} == before
    with single_instance(Path("data")):
        refused = run("expire")
    assert refused.exit_code == 2
    assert "is in use" in refused.output

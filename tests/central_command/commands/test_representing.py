"""`contributor`: an id and its key go to another machine in a file, and a key is made only when asked for."""

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from central_command.client.contract.contributor_keys import key_of, make_key
from central_command.client.spool.records import Opening
from central_command.client.spool.spool import Spool
from central_command.commands import asking, cli, representing

ID = "0123456789abcdef" * 2
OTHER = "f" * 32
OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The configuration directory of a machine; `another` gives that of the next."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return another(monkeypatch, tmp_path / "first")


def another(monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return home / "central-command"


def run(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(cli.main, ["contributor", *map(str, arguments)], **options)


def whoami() -> dict[str, str]:
    result = CliRunner().invoke(cli.main, ["whoami"])
    return dict(line.split("\t", 1) for line in result.stdout.splitlines())


def test_an_id_and_its_key_go_to_another_machine(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contributor_id, file = whoami()["contributor"], tmp_path / "contributor.json"
    result = run("export", file)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{file} holds your id and its key: keep it secret.\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = another(monkeypatch, tmp_path / "second")
    result = run("import", file)
    assert result.exit_code == 0, result.output
    assert f"as contributor {contributor_id} from now on, with its key." in result.stdout
    assert whoami()["contributor"] == contributor_id
    first_key, second_key = key_of(config, contributor_id), key_of(second, contributor_id)
    assert first_key is not None
    assert second_key is not None
    assert first_key.public_key == second_key.public_key
    assert run("import", file).exit_code == 0, "once more changes nothing"
    assert {stat.S_IMODE(path.stat().st_mode) for path in second.iterdir()} == {0o600}


def test_an_export_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    result = run("export", tmp_path / "there")
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {tmp_path / 'there'} is there already: name a file that is not.\n",
    )
    assert (tmp_path / "there").read_text() == "mine"


def test_an_import_that_takes_anothers_place_asks_and_keeps_the_former(config: Path, tmp_path: Path) -> None:
    former = whoami()["contributor"]
    file = tmp_path / "contributor.json"
    file.write_text(json.dumps({"contributor_id": OTHER, "private_key": None}))
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        spool.add_session("sess_1", url="http://server.test", opening=OPENING)
    asked = run("import", file)
    assert asked.exit_code == 2
    assert "Nobody can be asked here: give --yes to say so." in asked.stderr
    assert whoami()["contributor"] == former
    done = run("import", file, "--yes")
    assert done.exit_code == 0
    assert f"as contributor {OTHER} from now on, which has no key." in done.stdout
    assert whoami()["contributor"] == OTHER
    kept = config / f"contributor_id_{former[:8]}"
    assert f"The former id is kept in {kept}." in done.stdout
    assert kept.read_text() == f"{former}\n"
    assert key_of(config, former) is not None, "and so is its key"


def test_an_id_that_delivered_nothing_is_replaced_without_a_question(config: Path, tmp_path: Path) -> None:
    """`whoami` alone makes one; it is kept all the same. Where it cannot be known, it is asked."""
    former = whoami()["contributor"]
    file = tmp_path / "contributor.json"
    file.write_text(json.dumps({"contributor_id": OTHER, "private_key": None}))
    spool = tmp_path / "state" / "central-command" / "spool.db"
    spool.parent.mkdir(parents=True, exist_ok=True)
    spool.write_text("no database")
    assert run("import", file).exit_code == 2
    spool.unlink()
    with Spool(spool):
        pass
    assert run("import", file).exit_code == 0
    assert whoami()["contributor"] == OTHER
    assert (config / f"contributor_id_{former[:8]}").read_text() == f"{former}\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"torn {",
        b"[]",
        b'{"contributor_id": "short", "private_key": null}',
        b'{"contributor_id": "' + ID.encode() + b'"}',
        b'{"contributor_id": "' + ID.encode() + b'", "private_key": "no key"}',
        b'{"contributor_id": "' + ID.encode() + b'", "private_key": null, "more": 1}',
        b'{"contributor_id": "../../../../etc/passwd0123456789", "private_key": null}',
        b"{" + b" " * 100_000 + b"}",
        b"\xff\xfe",
    ],
)
def test_a_file_that_is_none_is_one_sentence_and_changes_nothing(content: bytes, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "contributor.json"
    file.write_bytes(content)
    result = run("import", file)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {file} is no file that `central-command contributor export` wrote.\n"
    assert not config.exists()


def test_another_key_of_the_same_id_is_not_replaced(config: Path, tmp_path: Path) -> None:
    """It may be the one that servers know."""
    kept, file = make_key(config, ID), tmp_path / "contributor.json"
    file.write_text(json.dumps({"contributor_id": ID, "private_key": make_key(tmp_path / "other", ID).pem}))
    result = run("import", file)
    assert result.exit_code == 1
    assert "Another key of this contributor is kept in" in result.stderr
    found = key_of(config, ID)
    assert found is not None
    assert found.public_key == kept.public_key
    assert not (config / "contributor_id").exists()


def test_a_key_for_an_id_that_has_none_is_made_when_asked_for(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.mkdir(parents=True)
    (config / "contributor_id").write_text(f"{ID}\n")
    assert whoami()["key"].startswith("none: ")
    assert run("register-key").exit_code == 2
    monkeypatch.setattr(asking, "is_terminal", lambda: True)
    assert run("register-key", input="n\n").exit_code == 1
    assert key_of(config, ID) is None
    assert run("register-key", input="y\n").exit_code == 0
    key = key_of(config, ID)
    assert key is not None
    again = run("register-key")
    assert (again.exit_code, again.stdout) == (0, f"The key is in {whoami()['key']}: keep a copy of it.\n")
    assert run("register-key", "--contributor-id", OTHER.upper(), "--yes").exit_code == 0
    assert key_of(config, OTHER) is not None


def test_a_key_that_cannot_be_read_is_one_sentence(config: Path, tmp_path: Path) -> None:
    contributor_id = whoami()["contributor"]
    (config / f"contributor_key_{contributor_id}.pem").write_text("torn")
    for arguments in (("export", tmp_path / "file"), ("register-key", "--yes")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "holds no Ed25519 key in PEM" in result.stderr
    assert CliRunner().invoke(cli.main, ["whoami"]).exit_code == 1


REQUEST = {"request": "er_0123456789abcdef", "state": "requested", "requested_at": "2026-11-29T02:00:00Z"}
DONE = REQUEST | {"state": "done", "done_at": "2026-11-29T02:01:00Z", "erased_lines": {"envelopes": 3, "corpus": 1}}


class Erasing:
    """A server in memory that erases and keeps what is said of consent; `refuses` answers to what is said."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bool]] = []
        self.standing: dict[str, Any] = REQUEST
        self.state = "given"
        self.refuses: httpx.Response | None = None
        self.mode = "client"
        self.erased = False
        self.terms = "Terms."

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.replace(whoami()["contributor"], "ID")
        self.asked.append((request.method, path, "Contributor-Signature" in request.headers))
        if request.method == "DELETE":
            return httpx.Response(202, json=self.standing)
        if path == "/.well-known/central-command.json":
            return httpx.Response(200, json={"receipt_keys": [], "consent": {"mode": self.mode}})
        if path.startswith("/v1/erasures/"):
            return httpx.Response(200, json=self.standing)
        event = {
            "id": "consent_1",
            "at": "2026-11-29T02:00:00Z",
            "state": "withdrawn",
            "version": "1.0",
            "source": "api",
            "purposes": [],
            "notice_version": "1.0",
            "notice_sha256": "0" * 64,
            "previous_sha256": "0" * 64,
            "sha256": "1" * 64,
        }
        if request.method == "POST":
            if self.refuses is not None:
                return self.refuses
            self.state = json.loads(request.content)["state"]
            return httpx.Response(200, json={"recorded": True, "event": event})
        notice = {"version": "1.0", "sha256": "0" * 64, "language": "en", "text": self.terms}
        members = {"state": self.state, "current_version": "1.0", "notice": notice, "last_event_sha256": "0" * 64}
        erased = {"erased": True} if self.erased else {}
        return httpx.Response(200, json=members | {"history": []} | erased)


@pytest.fixture
def erasing(monkeypatch: pytest.MonkeyPatch) -> Erasing:
    server = Erasing()

    def new_client(url: str, _trust: object) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url, transport=httpx.MockTransport(server.handle))

    monkeypatch.setattr(representing, "new_client", new_client)
    return server


def test_who_asks_to_be_erased_is_asked_told_what_stays_and_withdraws(erasing: Erasing) -> None:
    asked = run("erase")
    assert asked.exit_code == 2
    assert "What stays of an erasure: " in asked.stdout
    assert erasing.asked == [], "nothing is asked of the server before somebody agreed"
    result = run("erase", "--yes", "--wait-s", "0")
    assert result.exit_code == 1
    assert "erasure\tasked for, and under way\nrequest\ter_0123456789abcdef\n" in result.stdout
    assert "run the command again to see how it stands" in result.stderr
    assert erasing.asked[0] == ("DELETE", "/v1/contributors/ID", True)
    assert erasing.state == "withdrawn"
    shown = run("show")
    assert "given" not in shown.stdout
    assert "consent\twithdrawn: nothing is used, and nothing more is taken" in shown.stdout


def test_an_erasure_that_is_done_is_said_by_the_same_command(erasing: Erasing) -> None:
    erasing.standing, erasing.state = DONE, "withdrawn"
    result = run("erase", "--yes")
    assert result.exit_code == 0, result.output
    assert "erasure\tdone: 4 line(s) were erased, nothing of you is left there" in result.stdout
    assert [method for method, _path, _signed in erasing.asked] == ["DELETE", "GET"], "what was said is not said again"
    as_json = run("erase", "--yes", "--json")
    assert json.loads(as_json.stdout) == DONE


def test_an_erasure_goes_on_where_the_withdrawal_cannot_be_recorded(erasing: Erasing) -> None:
    erasing.standing, erasing.refuses = DONE, httpx.Response(507, json={"error": "No room."})
    result = run("erase", "--yes")
    assert result.exit_code == 0
    assert result.stderr == "That you withdraw your consent could not be recorded: No room.\n"


def test_who_was_erased_is_told_so_whatever_was_said_last(erasing: Erasing) -> None:
    """And agrees to nothing, because nothing would come of it."""
    erasing.erased = True
    shown = run("show")
    assert "consent\terased: nothing is taken in your name any more" in shown.stdout
    assert "given" not in shown.stdout
    asked = run("give", "--yes")
    assert asked.exit_code == 1
    assert "this contributor was erased at http://127.0.0.1:8443: consent would change nothing" in asked.stderr
    assert [method for method, _path, _signed in erasing.asked if method == "POST"] == []


def test_what_was_said_already_is_not_said_again_and_this_is_told(erasing: Erasing) -> None:
    assert "already" not in run("withdraw").stderr
    assert run("withdraw").stderr == "It was withdrawn already: nothing was changed.\n"
    assert [method for method, _path, _signed in erasing.asked].count("POST") == 1


@pytest.mark.parametrize(
    ("state", "mode", "says"),
    [
        ("none", "required", "what you send is held, and not used, until you agree (central-command contributor give)"),
        ("outdated", "client", "is held, and not used, until you agree to these (central-command contributor give)"),
        ("none", "client", "nothing yet: your first upload here is taken as your agreement to these terms"),
        ("given", "required", "given: what you sent may be used as the notice says"),
    ],
)
def test_show_says_what_is_held_until_its_contributor_agrees(
    erasing: Erasing, state: str, mode: str, says: str
) -> None:
    erasing.state, erasing.mode = state, mode
    result = run("show")
    assert result.exit_code == 0, result.output
    facts = dict(line.split("\t", 1) for line in result.stdout.splitlines() if "\t" in line)
    assert facts["consent"].endswith(says)


def test_withdrawing_takes_yes_and_asks_nothing_without_it(erasing: Erasing) -> None:
    """A script says it to each of these commands alike."""
    for arguments in (("withdraw",), ("withdraw", "--yes")):
        erasing.state = "given"
        result = run(*arguments)
        assert (result.exit_code, erasing.state) == (0, "withdrawn"), result.output


def test_show_prints_the_terms_that_are_asked_to_agree_to(erasing: Erasing) -> None:
    """Before what was said of them, as `give` does, and nothing of them steers a terminal."""
    erasing.terms = "You share all.\nNot\x1b[2J \u202emore."
    shown = run("show")
    assert shown.stdout.startswith("You share all.\nNot\ufffd[2J \ufffdmore.\n\n"), shown.output
    assert run("give", "--yes").stdout.startswith("You share all.\nNot\ufffd[2J \ufffdmore.\n")
    assert "You share all." not in run("withdraw").stdout
    assert json.loads(run("show", "--json").stdout)["notice"]["text"] == erasing.terms


@pytest.mark.parametrize("group", ["contributor", "consent"])
def test_no_command_is_cut_off_in_the_help_of_its_group(group: str) -> None:
    result = CliRunner().invoke(cli.main, [group, "--help"])
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:\n")[2].splitlines()
    assert len(listed) >= 8
    assert [line for line in listed if line.endswith("...")] == []

"""`whoami` and `mine`: from the spool and the server, without changing either."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from actors.envelopes.attestation import generate_key_pair
from central_command.client.contract.signing import draft_envelope
from central_command.client.spool.records import Opening
from central_command.client.spool.spool import Spool
from central_command.client.uploading.history import SourceState
from central_command.commands import cli, contributing

OPENING = Opening(
    provider="codex", model="gpt-5.5", machine_fingerprint="a" * 64, app_version_hash="b" * 64, client_version="0.1.0"
)
URL = "http://server.test"
ID = "0123456789abcdef" * 2
SERVER_KEY = generate_key_pair().public_key_base64
ERASED = [{"contributor_id": "eeeeeeee", "total_points": 1, "total_sessions": 1}]
"""The leaders of a server that has erased the contributor."""
CONSENT = {
    "state": "given",
    "current_version": "1.0",
    "notice": {"version": "1.0", "sha256": "0" * 64, "language": "en", "text": "Terms."},
    "last_event_sha256": "0" * 64,
    "history": [],
}


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An identity and a spool of this test's own; no variable says where a server is."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("GROOVE_CENTRAL_URL", "CENTRAL_COMMAND_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config" / "central-command").mkdir(parents=True)
    (tmp_path / "config" / "central-command" / "contributor_id").write_text(f"{ID}\n")


@pytest.fixture
def leaders(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a server in memory answers about its leaders, one answer a request; its last one again and again."""
    answers: list[Any] = [[]]
    no_consent = httpx.Response(404, json={"error": "There is no such endpoint."})

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == f"/v1/contributors/{ID}/consent":
            return httpx.Response(200, json=CONSENT | {"erased": True}) if answers[-1] == ERASED else no_consent
        assert request.url.path == "/v1/stats/leaderboard"
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, json=answer)

    monkeypatch.setattr(
        contributing,
        "new_client",
        lambda url, _trust: httpx.AsyncClient(base_url=url, transport=httpx.MockTransport(handle)),
    )
    return answers


def run(*arguments: str) -> Result:
    """Run `central-command` with these arguments."""
    return CliRunner().invoke(cli.main, arguments)


def facts_of(result: Result) -> dict[str, str]:
    """What stands behind each name."""
    assert result.exit_code == 0, result.output
    return dict(line.split("\t", 1) for line in result.stdout.splitlines() if "\t" in line)


def test_whoami_says_who_is_credited_and_where_everything_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And which variable named the server."""
    assert facts_of(run("whoami"))["server"] == "http://127.0.0.1:8443"
    monkeypatch.setenv("CENTRAL_COMMAND_URL", URL)
    found = facts_of(run("whoami"))
    assert found["contributor"] == ID
    assert found["server"] == f"{URL} (CENTRAL_COMMAND_URL)"
    assert found["spool"] == str(tmp_path / "state" / "central-command" / "spool.db")
    monkeypatch.setenv("GROOVE_CENTRAL_URL", "HTTP://Host.Example:1/")
    assert facts_of(run("whoami"))["server"] == "http://host.example:1 (GROOVE_CENTRAL_URL)"
    assert facts_of(run("whoami", "--url", URL))["server"] == URL


def test_mine_lists_what_was_delivered_what_waits_and_what_was_credited(leaders: list[Any], tmp_path: Path) -> None:
    """Of this server alone; what went to another session is counted there, and once."""
    head = {"envelope_id": "env_1", "session_id": "sess_x"}
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        for name, url in (("done", URL), ("waits", URL), ("moved", URL), ("elsewhere", "http://other.test")):
            spool.add_session(f"sess_{name}", url=url, opening=OPENING)
            spool.put(f"sess_{name}", "CHUNK", draft_envelope(head, {"trajectory_log": []}), steps=3, ends=True)
        spool.accepted("sess_done", 0)
        spool.closed("sess_done", points=12.5, steps=3)
        spool.move("sess_moved", "sess_new", "the server knows no such session")
    leaders[:] = [
        [
            {"contributor_id": "ffffffff", "total_points": 99, "total_sessions": 9},
            {"contributor_id": ID[:8], "total_points": 50.5, "total_sessions": 4},
        ]
    ]
    result = run("mine", "--url", URL)
    found = facts_of(result)
    rows = [line.split("\t") for line in result.stdout.splitlines() if line.startswith("sess_")]
    assert [(row[0], row[1], *row[3:7]) for row in rows] == [
        ("sess_done", "a recording", "delivered", "3", "3", "12.5"),
        ("sess_waits", "a recording", "waits", "3", "0", ""),
        ("sess_new", "a recording", "waits", "3", "0", ""),
    ]
    assert found["delivered"] == "3 step(s) in 1 session(s)"
    assert found["waits"].startswith(
        "2 envelope(s) in 2 session(s): the next recorder for this server sends them from "
    )
    assert found["credited"] == "12.5 points, as answered at each close"
    assert found["at the server"] == "50.5 points for 4 session(s), place 2"
    last = [line for line in run("mine", "--url", URL, "--limit", "1").stdout.splitlines() if line.startswith("sess_")]
    assert [line.split("\t")[0] for line in last] == ["sess_new"]
    assert (
        "The last 1 of 3 sessions are listed; --limit N lists more." in run("mine", "--url", URL, "--limit", "1").stdout
    )
    assert "--limit N" not in result.stdout


def test_mine_says_what_is_kept_and_not_signed_yet(leaders: list[Any], tmp_path: Path) -> None:
    """As a recorder leaves it whose program was killed: also where no envelope waits."""
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        for name, url in (("killed", URL), ("elsewhere", "http://other.test")):
            spool.add_session(f"sess_{name}", url=url, opening=OPENING)
            spool.keep_steps(f"sess_{name}", [b"{}", b"{}"])
    found = facts_of(run("mine", "--url", URL))
    assert found["waits"] == "0 envelope(s) in 1 session(s): open, and nothing is to be sent of them yet"
    assert found["kept"] == "2 step(s), not signed yet: the recorder that runs sends them, or the next one does"
    assert "kept" not in facts_of(run("mine", "--url", "http://third.test"))


def test_what_was_never_opened_is_counted_and_pushes_out_nothing(leaders: list[Any], tmp_path: Path) -> None:
    reason = "provider must be one of claude-code, codex, gemini"
    state = SourceState(path="/a.jsonl", contributor_id=ID, metadata={}).encode()
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        for name in ("one", "two"):
            spool.add_session(f"sess_{name}", url=URL, opening=OPENING)
            spool.closed(f"sess_{name}", points=1, steps=1)
        spool.add_session("sess_waits", url=URL, opening=OPENING)
        for n in range(3):
            spool.add_session(f"sess_{n}", url=URL, opening=OPENING, source=f"qwen-code:{n}", source_state=state)
            spool.fail(f"sess_{n}", f"The session was not opened: {reason}.")
    result = run("mine", "--url", URL, "--limit", "4")
    rows = [line.split("\t") for line in result.stdout.splitlines() if line.startswith("sess_")]
    assert [(row[0], row[3]) for row in rows] == [
        ("sess_2", "not opened"),
        ("sess_one", "delivered"),
        ("sess_two", "delivered"),
        ("sess_waits", "waits"),
    ]
    assert facts_of(result)["not opened"] == f"3 session(s): {reason}; an upload of their files tries again"


def test_mine_as_json_says_all_that_the_table_does(leaders: list[Any], tmp_path: Path) -> None:
    state = SourceState(path="/projects/a\x1b.jsonl", contributor_id=ID, metadata={}).encode()
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        spool.add_session("sess_file", url=URL, opening=OPENING, source="codex:1", source_state=state)
        spool.closed("sess_file", points=12.5, steps=3)
        spool.add_session("sess_refused", url=URL, opening=OPENING, source="codex:2", source_state=state)
        spool.fail("sess_refused", "The session was not opened: provider must be one of codex.")
        waiting_at(spool, "http://wrong.test", "recorded")
    leaders[:] = [[{"contributor_id": ID[:8], "total_points": 50.5, "total_sessions": 4}]]
    result = run("mine", "--url", URL, "--json", "--limit", "1")
    assert (result.exit_code, result.stdout.count("\n"), "\x1b" in result.stdout) == (0, 1, False)
    found = json.loads(result.stdout)
    assert found.pop("sessions") == [
        {
            "session_id": "sess_file",
            "file": "/projects/a\\x1b.jsonl",
            "model": "gpt-5.5",
            "state": "delivered",
            "steps": 0,
            "delivered": 0,
            "points": 12.5,
            "problem": None,
        }
    ]
    assert (found.pop("server"), found.pop("contributor_id")) == (URL, ID)
    assert found.pop("at_server") == {
        "says": "50.5 points for 4 session(s), place 1",
        "points": 50.5,
        "sessions": 4,
        "place": 1,
        "is_erased": False,
    }
    assert found.pop("waits_elsewhere") == [
        {"url": "http://wrong.test", "sessions": 1, "steps": 2_000, "steps_recorded": 2_000}
    ]
    why = "1 session(s): provider must be one of codex; an upload of their files tries again"
    assert found.pop("stuck") == [{"about": "not opened", "says": why}]
    totals = found.pop("totals")
    assert (totals["sessions"], totals["points"], totals["steps_kept"], found) == (2, 12.5, 0, {})


def test_mine_says_who_sends_what_waits(leaders: list[Any], tmp_path: Path) -> None:
    """A recorder sends no file's session, and an upload no recording."""
    head = {"envelope_id": "env_1", "session_id": "sess_x"}
    said = []
    for source in ("codex:1", None):
        with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
            state = SourceState(path="/a.jsonl", contributor_id=ID, metadata={}).encode() if source else b""
            spool.add_session(f"sess_{source}", url=URL, opening=OPENING, source=source, source_state=state)
            spool.put(f"sess_{source}", "CHUNK", draft_envelope(head, {"trajectory_log": []}), steps=3, ends=True)
        leaders[:] = [[]]
        said.append(facts_of(run("mine", "--url", URL))["waits"].partition(" from ")[0])
    read = "an upload of the same file, or a watch of its folder, sends"
    recorded = "the next recorder for this server sends"
    assert said == [
        f"1 envelope(s) in 1 session(s): {read} them",
        f"2 envelope(s) in 2 session(s): {recorded} the 1 that were recorded, {read} the others,",
    ]


def waiting_at(spool: Spool, url: str, name: str, *, source: str | None = None) -> None:
    head = {"envelope_id": "env_1", "session_id": f"sess_{name}"}
    spool.add_session(f"sess_{name}", url=url, opening=OPENING, source=source)
    spool.put(f"sess_{name}", "CHUNK", draft_envelope(head, {"trajectory_log": []}), steps=2_000, ends=True)


def test_what_waits_for_a_wrong_address_is_said_and_forgotten(leaders: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "state" / "central-command" / "spool.db"
    with Spool(path) as spool:
        waiting_at(spool, "http://wrong.test", "recorded")
        waiting_at(spool, "http://wrong.test", "file", source="codex:a:b")
        waiting_at(spool, URL, "right")
    assert facts_of(run("mine", "--url", URL))["waits elsewhere"] == (
        "4,000 step(s) in 2 session(s) for http://wrong.test; --forget URL drops them"
    )
    asked = run("mine", "--forget", "http://wrong.test/")
    assert (asked.exit_code, asked.stdout) == (2, "")
    lost = (
        "4,000 step(s) in 2 session(s), never delivered to http://wrong.test; "
        "2,000 of them were recorded, and are in no file"
    )
    assert asked.stderr == f"central-command: Forget {lost}? Nobody can be asked here: give --yes to say so.\n"
    with Spool(path) as spool:
        assert spool.claim("sess_file")
        refused = run("mine", "--forget", "http://wrong.test", "--yes")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "central-command: Another program records or sends sessions for http://wrong.test: end it first.\n",
    )
    done = run("mine", "--forget", "http://wrong.test", "--yes")
    stays = "What was never begun there stays in its files: an upload or a watch of them begins anew.\n"
    assert (done.exit_code, done.output) == (0, f"Forgotten: {lost}.\n{stays}")
    again = run("mine", "--forget", "http://wrong.test", "--yes")
    assert (again.exit_code, again.output) == (
        1,
        f"central-command: nothing waits for http://wrong.test; it does for {URL}\n",
    )
    found = facts_of(run("mine", "--url", URL))
    assert (found["waits"][:30], "waits elsewhere" in found) == ("1 envelope(s) in 1 session(s):", False)


def of_file(spool: Spool, path: Path, name: str, *, is_opened: bool = False) -> None:
    head = {"envelope_id": "env_1", "session_id": f"sess_{name}"}
    state = SourceState(path=str(path), contributor_id=ID, metadata={}).encode()
    spool.add_session(f"sess_{name}", url=URL, opening=OPENING, source=f"codex:{name}:1", source_state=state)
    if is_opened:
        spool.opened(f"sess_{name}", SERVER_KEY)
    spool.put(f"sess_{name}", "CHUNK", draft_envelope(head, {"trajectory_log": []}), steps=5)


def test_mine_says_what_is_in_no_file_any_more_and_what_the_server_does_not_open(
    leaders: list[Any], tmp_path: Path
) -> None:
    """With the server's reason, how much it is, and what ends it; the reasons that are told are bounded."""
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        of_file(spool, tmp_path / "gone.jsonl", "gone")
        (tmp_path / "there.jsonl").touch()
        of_file(spool, tmp_path / "there.jsonl", "there")
    found = facts_of(run("mine", "--url", URL))
    drops = f"`central-command mine --forget {URL}` drops all that waits for this server"
    assert found["files gone"] == (
        "5 step(s) of these are in no file any more, and are kept: "
        f"the next upload of any file to this server, or watch, sends them; {drops}"
    )
    assert "not opened" not in found
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        for name in ("gone", "there"):
            spool.explain(f"sess_{name}", "The session was not opened: You are banned.")
    result = run("mine", "--url", URL)
    assert facts_of(result)["not opened"] == (
        f"The session was not opened: You are banned. 10 step(s) in 2 session(s) are kept until it is; {drops}"
    )
    assert [line.split("\t")[3] for line in result.stdout.splitlines() if line.startswith("sess_")] == [
        "not opened"
    ] * 2
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        for number in range(5):
            of_file(spool, tmp_path / "there.jsonl", f"more_{number}")
            spool.explain(f"sess_more_{number}", f"The session was not opened: {number}.")
    lines = [line for line in run("mine", "--url", URL).stdout.splitlines() if line.startswith("not opened")]
    assert (len(lines), lines[-1]) == (4, "not opened\tfor 3 more reason(s)")


def test_forgetting_says_which_files_go_on_and_how_the_forgotten_steps_are_sent(tmp_path: Path) -> None:
    """What was never opened begins anew by itself; what is in no file any more is said before it is dropped."""
    (tmp_path / "begun.jsonl").touch()
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        of_file(spool, tmp_path / "begun.jsonl", "begun", is_opened=True)
        of_file(spool, tmp_path / "gone.jsonl", "gone", is_opened=True)
    lost = f"10 step(s) in 2 session(s), never delivered to {URL}; 5 of them were read from files that are gone"
    assert f"Forget {lost}?" in run("mine", "--forget", URL).stderr
    assert run("mine", "--forget", URL, "--yes").stdout == (
        f"Forgotten: {lost}.\n"
        "Of these files the server may have a part. An upload or a watch goes on behind the forgotten steps; those are"
        " sent only by an upload with --no-resume, which sends the whole file anew:\n"
        f"  {tmp_path}/begun.jsonl\n"
    )


def test_a_spool_that_is_none_is_one_sentence_for_forgetting_too(tmp_path: Path) -> None:
    path = tmp_path / "state" / "central-command" / "spool.db"
    path.parent.mkdir(parents=True)
    path.write_text("no database")
    result = run("mine", "--forget", URL, "--yes")
    assert (result.exit_code, "cannot be opened" in result.stderr) == (1, True)


def test_a_busy_server_is_asked_again_when_it_says_and_else_said_to_be_busy(leaders: list[Any], tmp_path: Path) -> None:
    """For some seconds, and no more: an upload from here may take all that this address may ask."""
    busy = [httpx.Response(429, json={"error": "Too many."}, headers={"Retry-After": text}) for text in ("0", "60")]
    found = [{"contributor_id": ID[:8], "total_points": 2, "total_sessions": 1}]
    leaders[:] = [busy[0], busy[0], found]
    assert facts_of(run("mine", "--url", URL))["at the server"] == "2 points for 1 session(s), place 1"
    leaders[:] = [busy[0]] * 7 + [found]
    assert facts_of(run("mine", "--url", URL))["at the server"].startswith("not known now")
    assert len(leaders) == 3, "it was asked five times"
    with Spool(tmp_path / "state" / "central-command" / "spool.db") as spool:
        waiting_at(spool, URL, "waits")
    leaders[:] = [busy[1], found]
    assert facts_of(run("mine", "--url", URL))["at the server"] == (
        "not known now, as it is busy, with what is sent from here for one (Too many):"
        " the lines above are what this machine knows"
    )


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([[]], "nobody has been credited yet"),
        (
            [[{"contributor_id": "ffffffff", "total_points": 1, "total_sessions": 1}]],
            "not the one who is credited",
        ),
        ([ERASED], "erased: what is listed here is what this machine was answered before, and none of it is there now"),
        ([httpx.Response(400, json={"error": "limit is from 1 to 5."}), []], "nobody has been credited yet"),
        ([httpx.Response(200, text="<html>")], "not known: what answers at http://server.test is no Central Command"),
        (
            [httpx.Response(429, json={"error": "Too many requests from this address; come back later."})],
            "not known now, as it is busy (Too many requests from this address; come back later): the lines above",
        ),
        ([httpx.Response(429, text="<html>")], "not known: what answers at http://server.test is no Central Command"),
        (
            [httpx.Response(404, json={"error": "There is no such endpoint."})],
            "not known: There is no such endpoint; --url or GROOVE_CENTRAL_URL may name a server of another version",
        ),
        ([{"error": "No."}], "not known: what answers at http://server.test is no Central Command"),
    ],
)
def test_mine_says_what_the_server_does_not(leaders: list[Any], answers: list[Any], says: str) -> None:
    """What is known here is printed all the same."""
    leaders[:] = answers
    found = facts_of(run("mine", "--url", URL))
    assert found["at the server"].startswith(says)
    assert found["waits"] == "nothing"

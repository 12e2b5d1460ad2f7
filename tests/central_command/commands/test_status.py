"""`status`: one screen about a server, with what is wrong in a sentence each, and an exit status that says so."""

import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner

from central_command.client.contract.connection import Trust
from central_command.commands import overseeing
from central_command.commands.cli import main
from central_command.commands.overseeing import NO_TOKEN, asked
from central_command.commands.printing.server_state import WIDTH, Check, ServerState, alarms, screen

TOKEN = "cc_" + "a" * 43
URL = "http://central.test"
OK = (Check("journals", ok=True, needed=True, detail="ok"), Check("embedding", ok=False, needed=False, detail="off"))
FIGURES = {
    ("open_sessions", ""): 12.0,
    ("active_sessions", ""): 3.0,
    ("envelopes", ""): 1_234_567.0,
    ("disk_free_bytes", ""): 80e9,
    ("disk_free_min_bytes", ""): 1e8,
    ("quota_used_bytes", ""): 2e9,
    ("quota_warning_bytes", ""): 40e9,
    ("quota_bytes", ""): 50e9,
    ("journal_queue_lines", "envelopes"): 4.0,
    ("journal_queue_lines", "refused"): 1.0,
    ("last_success_timestamp_seconds", "backup"): 1_000_000.0 - 7_200,
    ("check_last_pass_timestamp_seconds", ""): 1_000_000.0 - 60,
}
METRICS = """\
# TYPE central_command_open_sessions gauge
central_command_open_sessions 7
# TYPE central_command_refusals_total counter
central_command_refusals_total{code="schema"} 2
# TYPE process_open_fds gauge
process_open_fds 9
"""


def state(**changes: Any) -> ServerState:
    members: dict[str, Any] = {
        "url": URL,
        "at": 1_000_000.0,
        "ready": True,
        "uptime_s": 7_300.0,
        "checks": OK,
        "samples": FIGURES,
    }
    return ServerState(**(members | changes))


def answering(**answers: tuple[int, Any]) -> httpx.Client:
    """A client whose server answers so, by the path's name."""

    def answer(request: httpx.Request) -> httpx.Response:
        status, body = answers[request.url.path.strip("/")]
        if request.url.path == "/metrics":
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
        return httpx.Response(status, text=body) if isinstance(body, str) else httpx.Response(status, json=body)

    return httpx.Client(transport=httpx.MockTransport(answer))


READYZ = {"ready": True, "uptime": 5.0, "checks": [{"name": "disk", "ok": True, "needed": True, "detail": "ok"}]}
LIVEZ = {"live": True}


def test_failed_jobs_are_an_alarm_and_jobs_are_told_together_and_by_queue() -> None:
    metrics = """\
# TYPE central_command_jobs gauge
central_command_jobs{queue="gc",state="failed"} 1
central_command_jobs{queue="verify",state="failed"} 1
central_command_jobs{queue="verify",state="completed"} 5
central_command_jobs{queue="curation",state="completed"} 12345
central_command_jobs{queue="curation",state="failed"} 0
"""
    with answering(metrics=(200, metrics)) as asking:
        samples, _ = overseeing._samples(asking, URL, TOKEN)
    found = state(samples=FIGURES | dict(samples or {}))
    assert list(alarms(found)) == ["Failed jobs: 2; `central-command jobs --status failed` lists them."]
    lines = screen(found)
    at = lines.index("jobs      2 failed, 12,350 completed")
    assert " ".join(" ".join(lines[at + 1 : at + 3]).split()) == (
        "by queue gc 1 failed, verify 1 failed, verify 5 completed, curation 12,345 completed"
    )
    rests = state(samples=FIGURES | {("jobs_out_of_order", ""): 1.0})
    assert [sentence[:11] for sentence in alarms(rests)] == ["Jobs rest: "]


@pytest.mark.parametrize("name", ["lines", "erasures", "access"])
def test_what_envelopes_do_not_need_is_wrong_all_the_same(name: str) -> None:
    found = state(checks=(Check(name, ok=False, needed=False, detail="1 of them; the log says why"),))
    assert not found.is_ok
    assert [sentence.endswith("(1 of them; the log says why).") for sentence in alarms(found)] == [True]


def test_queues_that_are_paused_are_named_and_an_alarm_after_a_day() -> None:
    """A queue that was forgotten does nothing: no backup, no check."""
    metrics = f"""\
# TYPE central_command_job_queue_paused gauge
central_command_job_queue_paused{{queue="backup"}} 1
central_command_job_queue_paused{{queue="gc"}} 0
# TYPE central_command_job_queue_paused_timestamp_seconds gauge
central_command_job_queue_paused_timestamp_seconds{{queue="backup"}} {1_000_000 - 7_200}
"""
    with answering(metrics=(200, metrics)) as asking:
        samples, _ = overseeing._samples(asking, URL, TOKEN)
    found = state(samples=FIGURES | dict(samples or {}))
    assert (list(alarms(found)), "paused    backup for 2 h" in screen(found)) == ([], True)
    (alarm,) = alarms(msgspec.structs.replace(found, at=1_000_000.0 + 3 * 86_400, samples=samples))
    assert alarm.startswith("Queues of jobs are paused: backup for 3 d; ")


def test_an_export_that_has_failed_is_told_and_no_alarm() -> None:
    """It is for whoever asked for it, who may have asked for what cannot be."""
    found = state(samples=FIGURES | {("jobs", "export failed"): 2.0})
    assert (list(alarms(found)), found.is_ok) == ([], True)
    assert "by queue  export 2 failed" in screen(found)


def test_every_check_and_what_was_refused_is_told_within_the_width() -> None:
    """In more lines than one where one is too short."""
    names = ("journals", "projection", "disk", "sessions", "lines", "embedding", "curation")
    checks = tuple(Check(name, ok=True, needed=True, detail="all was looked at") for name in names)
    refused = {("refusals_total", "rate_limited"): 44.0, ("refusals_total", "not_found"): 1_200.0}
    lines = screen(state(checks=checks, samples=FIGURES | refused))
    text = " ".join(" ".join(lines).split())
    assert all(len(line) <= WIDTH for line in lines)
    assert ", ".join(f"{name} all was looked at" for name in names) in text
    assert "refused 1,244 requests since the start; dead letters are some of them" in text
    assert "by reason 1,200 not_found, 44 rate_limited" in text


def test_a_screen_says_how_it_is() -> None:
    """In the words and units of people, within 80 columns."""
    lines = screen(state())
    text = "\n".join(lines)
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[0] == f"{URL}  ok"
    assert lines[-1] == "Nothing is wrong."
    for said in (
        "ready, up for 2 h",
        "12 open, 0 in all; 3 are in memory",
        "1,234,567 envelopes",
        "80 GB free",
        "journals 5 lines",
    ):
        assert said in text
    assert "backup 2 h ago" in text
    assert state().is_ok


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"unreachable": "The server does not answer: no."}, "does not answer"),
        ({"live": "Lines wait, and nothing is written to these journals: envelopes."}, "nothing is written"),
        (
            {"ready": False, "checks": (Check("disk", ok=False, needed=True, detail="disk_full"),)},
            "507: there is no room .less is free on the disk than stays free",
        ),
        (
            {"ready": False, "checks": (Check("disk", ok=False, needed=True, detail="quota_reached"),)},
            "507: there is no room .the journals have reached their quota",
        ),
        ({"ready": False}, "not ready"),
        ({"checks": (Check("lines", ok=False, needed=False, detail="damaged in 1 place(s)"),)}, "run verify"),
        ({"samples": FIGURES | {("quota_used_bytes", ""): 41e9}}, "41 GB, past the warning"),
        ({"samples": FIGURES | {("disk_free_bytes", ""): 2e9}}, "2 GB left"),
        ({"samples": FIGURES | {("projection_lag_lines", ""): 20_000.0}}, "20,000 lines behind"),
        ({"samples": FIGURES | {("curation_lag_seconds", ""): 8_000.0}}, "corpus is 2 h behind"),
        ({"samples": FIGURES | {("check_last_pass_timestamp_seconds", ""): 700_000.0}}, "3 d ago"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    """And nothing else is."""
    found = state(**changes)
    (said,) = alarms(found)
    assert re.search(sentence, said)
    assert said.endswith(".")
    assert not found.is_ok
    assert "not ok" in screen(found)[0]


def test_what_a_server_says_steers_no_terminal() -> None:
    """Whoever answers at an address may be anybody."""
    hostile = state(checks=(Check("a\x1b[31m", ok=False, needed=True, detail="\n" * 3 + "x" * 500),), ready=False)
    assert all(line.isprintable() and len(line) <= WIDTH for line in screen(hostile))


def test_a_server_is_asked_with_a_token_and_without() -> None:
    """Without one it is said what is missing, and what is open is known all the same."""
    found = asked(URL, Trust(), TOKEN, answering(readyz=(200, READYZ), livez=(200, LIVEZ), metrics=(200, METRICS)))
    assert found.samples == {("open_sessions", ""): 7.0, ("refusals_total", "schema"): 2.0}
    assert (found.ready, found.uptime_s, found.is_ok) == (True, 5.0, True)
    found = asked(URL, Trust(), None, answering(readyz=(200, READYZ), livez=(200, LIVEZ)))
    assert (found.samples, found.no_samples, found.is_ok) == (None, NO_TOKEN, True)
    assert "--token-file" in "\n".join(screen(found))


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"metrics": (403, {"error": "The token has not the scope read or admin."})}, "not the scope read"),
        ({"metrics": (404, "nothing")}, "status 404"),
    ],
)
def test_a_token_that_is_refused_is_said(answers: dict[str, Any], said: str) -> None:
    """In the server's words, where it has some."""
    found = asked(URL, Trust(), TOKEN, answering(readyz=(200, READYZ), livez=(200, LIVEZ), **answers))
    assert found.samples is None
    assert said in found.no_samples


@pytest.mark.parametrize("body", ["no JSON", [], {}, {"ready": True}, {"ready": True, "checks": 1, "uptime": 1}])
def test_what_is_no_server_is_said_to_be_none(body: Any) -> None:
    """Another program may listen there."""
    found = asked(URL, Trust(), None, answering(readyz=(200, body), livez=(200, LIVEZ)))
    assert found.unreachable == (
        "What answers at http://central.test is no Central Command (status 200), or one of another version; write the "
        "server's address and port, or https:// instead of http:// in --url or GROOVE_CENTRAL_URL."
    )


def test_a_server_that_does_not_answer_is_not_ok() -> None:
    """Said in one sentence."""

    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    found = asked(URL, Trust(), None, httpx.Client(transport=httpx.MockTransport(refuse)))
    (said,) = alarms(found)
    assert said.startswith("The server does not answer: the connection failed: connection refused; ")


def test_that_nothing_listens_is_said_in_words_and_what_to_do() -> None:
    """Without the number of an error."""
    (said,) = alarms(asked("http://127.0.0.1:1", Trust(), None))
    assert "nothing listens at http://127.0.0.1:1 (connection refused); start the server" in said
    assert "Errno" not in said


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://a", "http://a:99999", "http://[::1"])
def test_what_is_no_url_is_one_sentence(url: str) -> None:
    done = CliRunner().invoke(main, ["status", "--url", url])
    assert done.exit_code == 2
    assert "Invalid value for '--url'" in done.output
    assert "is no URL" in done.output


@pytest.mark.parametrize(("found", "status"), [(state(), 0), (state(ready=False), 1)])
def test_the_exit_status_says_whether_it_is_ok(
    monkeypatch: pytest.MonkeyPatch, found: ServerState, status: int
) -> None:
    """For scripts; the address and the token come from options or the environment."""
    given: list[tuple[str, Trust, str | None]] = []

    def ask(url: str, trust: Trust, token: str | None) -> ServerState:
        given.append((url, trust, token))
        return found

    monkeypatch.setattr(overseeing, "asked", ask)
    done = CliRunner().invoke(
        main,
        ["status"],
        env={"CENTRAL_COMMAND_URL": "http://a/", "GROOVE_CENTRAL_URL": "", "CENTRAL_COMMAND_TOKEN": TOKEN},
    )
    assert (done.exit_code, given) == (status, [("http://a", Trust(), TOKEN)])
    assert URL in done.output


def test_what_is_no_token_is_refused() -> None:
    """Before anybody is asked, and without repeating it."""
    done = CliRunner().invoke(main, ["status"], env={"CENTRAL_COMMAND_TOKEN": "secret"})
    assert done.exit_code == 2
    assert "secret" not in done.output


def test_watching_goes_on_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A screen after the other; what is wrong ends nothing."""
    screens = iter([state(), state(ready=False)])
    slept: list[float] = []

    def ask(_url: str, _trust: Trust, _token: str | None) -> ServerState:
        return next(screens)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(overseeing, "asked", ask)
    monkeypatch.setattr("time.sleep", sleep)
    done = CliRunner().invoke(main, ["status", "--watch", "--every", "2"])
    assert (done.exit_code, slept) == (130, [2.0, 2.0])


def test_a_token_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xbd\xff")
    result = CliRunner().invoke(main, ["status", "--token-file", str(tmp_path / "token")])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "is none: it begins with cc_" in result.output

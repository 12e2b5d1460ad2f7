"""`sign-in`: a link that works once, and browser sessions listed and ended; beside a server or not."""

import re
import time
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from central_command.access.desk import AccessDesk, SignedIn
from central_command.access.settings import AccessSettings
from central_command.commands.cli import main
from central_command.reaching.addresses import URL_VARIABLES
from central_command.running import _make_known
from central_command.settings.variables import PORT_VARIABLES
from persistence.files.failures import DataDirectoryLocked
from persistence.files.file_system import inline
from persistence.files.lock import noted_address, single_instance
from tests.running_service import running
from tests.server_process import ServerProcess


def run(root: Path, *arguments: str, **environment: str) -> Result:
    """Run a command on a data directory."""
    return CliRunner().invoke(main, ["sign-in", *arguments, "--data-dir", str(root)], env=environment)


def sign_in(root: Path, code: str) -> SignedIn | object:
    """What becomes of who follows the link."""
    desk = AccessDesk(
        root / "access.db", AccessSettings(), clock=time.time, random_bytes=lambda count: b"x" * count, offload=inline
    )
    return trio.run(desk.sign_in, code)


def test_a_link_is_made_and_the_session_that_it_opens_is_listed_and_ended(tmp_path: Path) -> None:
    assert "No browser is signed in" in run(tmp_path, "list").output
    made = run(tmp_path, "--scope", "read", "--url", "https://cc.example/")
    assert made.exit_code == 0, made.output
    assert re.search(r"^lnk_[0-9a-f]{16}: works once, within 10 minutes$", made.stderr, re.MULTILINE)
    [code] = re.findall(r"^https://cc\.example/sign-in/link\?code=(cl_[0-9A-Za-z_-]{43})$", made.stdout, re.MULTILINE)
    opened = sign_in(tmp_path, code)
    assert isinstance(opened, SignedIn)
    assert opened.session.scopes == ("read",)
    assert not isinstance(sign_in(tmp_path, code), SignedIn)
    listed = run(tmp_path, "list")
    row = listed.output.splitlines()[1].split("\t")
    assert (row[0], row[3], row[4]) == (opened.session.session_id, "read", "open")
    assert run(tmp_path, "revoke", "ses_").output == f"{opened.session.session_id} is ended\n"
    assert "\tended\t" in run(tmp_path, "list").output


@pytest.mark.parametrize(
    ("arguments", "environment", "base"),
    [
        ((), {}, "http://localhost:8443"),
        ((), {"GROOVE_CENTRAL_PORT": "9000"}, "http://localhost:9000"),
        ((), {"CENTRAL_COMMAND_URL": "https://one.test/"}, "https://one.test"),
        ((), {"CENTRAL_COMMAND_URL": "https://one.test", "GROOVE_CENTRAL_URL": "https://two.test"}, "https://two.test"),
        (("--url", "https://three.test"), {"GROOVE_CENTRAL_URL": "https://two.test"}, "https://three.test"),
    ],
)
def test_a_link_leads_to_where_the_environment_says_the_server_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    base: str,
) -> None:
    for name in (*URL_VARIABLES, *PORT_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    made = run(tmp_path, *arguments, **environment)
    assert made.stdout.startswith(f"{base}/sign-in/link?code=cl_"), made.output


def test_a_link_leads_to_the_port_of_the_server_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the settings say by now; not to one that is gone, nor to what a damaged file says."""
    for name in (*URL_VARIABLES, *PORT_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "data"
    with ServerProcess(root) as server:
        assert run(root).stdout.startswith(f"{server.url}/sign-in/link?code=cl_")
        in_use = pytest.raises(DataDirectoryLocked, match=r"is in use by process [0-9]+: stop it first\.")
        with in_use, single_instance(root):
            pass
    for text in (None, b"1\nhttp://127.0.0.1:9 x\n", b"99999999999\nhttp://127.0.0.1:9\n", bytes(range(256))):
        if text is not None:
            (root / "lock").write_bytes(text)
        assert run(root).stdout.startswith("http://localhost:8443/sign-in/link?code=cl_")


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("--scope", "everything"), 2, "'everything' is not one of"),
        (("revoke", "ses_x"), 1, "there is no browser session whose id alone begins so"),
        (("revoke", ""), 1, "there is no browser session whose id alone begins so"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    result = run(tmp_path, *arguments)
    assert (result.exit_code, sentence in result.output) == (status, True), result.output
    assert list(tmp_path.iterdir()) == []


def test_there_are_no_more_links_than_the_settings_allow(tmp_path: Path) -> None:
    bound = {"CENTRAL_COMMAND__ACCESS__LINKS_MAX": "1"}
    assert run(tmp_path, **bound).exit_code == 0
    result = run(tmp_path, **bound)
    assert (result.exit_code, "access.links_max" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("is_terminal", "urls", "printed"),
    [
        (True, ["http://127.0.0.1:8443"], "http://127.0.0.1:8443"),
        (True, ["http://[::1]:8443"], "http://[::1]:8443"),
        (True, ["http://0.0.0.0:8443"], "http://localhost:8443"),
        (True, ["https://[::]:9000"], "https://localhost:9000"),
        (True, ["http://192.0.2.1:8443", "http://127.0.0.1:8443"], "http://127.0.0.1:8443"),
        (False, ["http://127.0.0.1:8443"], None),
        (False, ["http://0.0.0.0:8443"], None),
        (True, ["http://192.0.2.1:8443"], None),
    ],
)
async def test_a_server_prints_a_link_on_a_terminal_where_its_own_machine_reaches_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,  # noqa: FBT001
    urls: list[str],
    printed: str | None,
) -> None:
    async with running(tmp_path) as run:
        monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
        await _make_known(run.service, urls, inline)
        assert (noted_address(tmp_path) is None) is (urls == ["http://192.0.2.1:8443"])
        assert printed in {noted_address(tmp_path), None}
        out = capsys.readouterr().out
        assert (f" {printed}/sign-in/link?code=cl_" in out) is (printed is not None)
        assert (out != "") is (tmp_path / "access.db").exists() is (printed is not None)

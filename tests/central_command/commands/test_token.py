"""`token`: made and shown once, listed without what is secret, revoked; beside a server or not."""

import re
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from central_command.access.gate import Admitted, Gate, NotAdmitted
from central_command.access.settings import AccessSettings
from central_command.access.tokens import TOKEN, Scope
from central_command.commands.cli import main
from persistence.databases.access_tokens import TokenFile
from persistence.files.file_system import inline


def run(root: Path, *arguments: str, **environment: str) -> Result:
    """Run a command on a data directory."""
    return CliRunner().invoke(main, ["token", *arguments, "--data-dir", str(root)], env=environment)


def check(root: Path, token: str, scope: Scope) -> object:
    """What a server says to it now."""
    tokens = TokenFile(root / "access.db", lambda: 0.0)
    return trio.run(Gate(tokens, AccessSettings(), clock=lambda: 1.0, offload=inline).check, token, scope)


def test_a_token_is_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    made = run(tmp_path, "create", "--scope", "intake", "--scope", "read", "--expires", "90d", "--name", "the shop")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert TOKEN.match(token)
    [token_id] = re.findall(r"^(tok_[0-9a-f]{16}): ", made.stderr)
    assert check(tmp_path, token, Scope.INTAKE) == Admitted(token_id, ("intake", "read"))
    listed = run(tmp_path, "list")
    assert token not in listed.output
    name, scopes, state, expires, used = listed.output.splitlines()[1].split("\t")[1:]
    assert (name, scopes, state, used) == ("the shop", "intake read", "valid", "never")
    assert re.match(r"20\d\d-\d\d-\d\dT", expires)
    assert run(tmp_path, "revoke", token_id[:9]).output == f"{token_id} is revoked\n"
    assert "revoked" in run(tmp_path, "list").output
    assert check(tmp_path, token, Scope.INTAKE) == NotAdmitted()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Missing option '--scope'"),
        (("--scope", "everything"), "'everything' is not one of"),
        (("--scope", "read", "--expires", "soon"), "--expires takes a whole number and h, d or w, such as 90d"),
        (("--scope", "read", "--name", "n" * 65), "--name takes at most 64 characters that can be printed"),
        (("--scope", "read", "--name", "\x1b[31m"), "--name takes at most 64 characters that can be printed"),
    ],
)
def test_what_is_wrong_is_said_and_no_token_made(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = run(tmp_path, "create", *arguments)
    assert (result.exit_code, sentence in result.output) == (2, True), result.output
    assert list(tmp_path.iterdir()) == []


def test_no_more_are_made_than_the_settings_allow(tmp_path: Path) -> None:
    limit = {"CENTRAL_COMMAND__ACCESS__TOKENS_MAX": "1"}
    assert run(tmp_path, "create", "--scope", "read", **limit).exit_code == 0
    result = run(tmp_path, "create", "--scope", "read", **limit)
    assert (result.exit_code, "as many tokens as access.tokens_max allows" in result.output) == (2, True)


def test_without_one_that_is_said(tmp_path: Path) -> None:
    assert "There is no token" in run(tmp_path, "list").output
    result = run(tmp_path, "revoke", "tok_1")
    assert (result.exit_code, "there is no token whose id alone begins so" in result.output) == (1, True)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "access.db").write_bytes(b"x" * 4096)
    for arguments in (("list",), ("create", "--scope", "read"), ("revoke", "tok_1")):
        result = run(tmp_path, *arguments)
        assert result.exit_code == 5
        assert "access.db is not a database" in result.output

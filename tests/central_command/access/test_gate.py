"""Tokens: shown once and kept as digests, valid for what they are for until they expire or are revoked."""

import os
import re
import sqlite3
import threading
from pathlib import Path

import pytest
import trio

from central_command.access.gate import Admitted, CannotTell, Gate, NotAdmitted, OutOfScope
from central_command.access.settings import AccessSettings
from central_command.access.tokens import TOKEN, Scope, new_cookie, new_token, token_sha256
from persistence.databases.access_tokens import StoredToken, TokenFile, TooManyTokens
from persistence.databases.browser_sessions import BrowserSessionFile, Opening, StoredBrowserSession
from persistence.files.file_system import inline
from persistence.format import times
from tests.submitted_texts import leave_token

NOW = 1_795_169_541.0


def gate_of(root: Path, now: float = NOW) -> Gate:
    return Gate(TokenFile(root / "access.db", lambda: now), AccessSettings(), clock=lambda: now, offload=inline)


def stored(token_id: str, created_at: float = NOW, **changes: str | None) -> StoredToken:
    nothing = dict.fromkeys(("expires_at", "revoked_at", "last_used_at"))
    return StoredToken(
        token_id=token_id, name="", scopes=("read",), created_at=times.to_text(created_at), **{**nothing, **changes}
    )


def names(root: Path) -> list[str]:
    return [each.name for each in root.iterdir()]


def test_a_token_is_cc_and_32_random_bytes() -> None:
    tokens = {new_token(os.urandom) for _ in range(100)}
    assert len(tokens) == 100
    assert all(TOKEN.match(token) for token in tokens)
    assert new_token(bytes) == "cc_" + "A" * 43


async def test_a_token_is_for_its_scopes_alone_until_it_expires_or_is_revoked(tmp_path: Path) -> None:
    token, token_id = leave_token(tmp_path, "intake", "read", now=NOW, lasting_s=60)
    gate = gate_of(tmp_path)
    assert [await gate.check(token, scope) for scope in Scope] == [
        Admitted(token_id, ("intake", "read")),
        Admitted(token_id, ("intake", "read")),
        OutOfScope(("intake", "read")),
        OutOfScope(("intake", "read")),
    ]
    assert await gate_of(tmp_path, NOW + 59).check(token, Scope.READ) == Admitted(token_id, ("intake", "read"))
    assert await gate_of(tmp_path, NOW + 60).check(token, Scope.READ) == NotAdmitted()
    assert TokenFile(tmp_path / "access.db", lambda: NOW).revoke(token_id[:8], times.to_text(NOW)) == token_id
    assert await gate.check(token, Scope.READ) == NotAdmitted(), "from the next look on"


async def test_what_was_never_made_is_not_admitted_and_makes_no_file(tmp_path: Path) -> None:
    assert await gate_of(tmp_path).check(new_token(os.urandom), Scope.READ) == NotAdmitted()
    assert names(tmp_path) == []


async def test_nothing_of_a_token_stands_in_the_file(tmp_path: Path) -> None:
    token, _ = leave_token(tmp_path, "admin")
    path = tmp_path / "access.db"
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    assert token.encode() not in content
    assert token.removeprefix("cc_").encode() not in content
    assert token_sha256(token).encode() in content
    assert names(tmp_path) == ["access.db"]


async def test_uses_are_noted_together_and_at_the_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    token, token_id = leave_token(tmp_path, "read", now=NOW)
    tokens = TokenFile(tmp_path / "access.db", lambda: NOW)
    gate = gate_of(tmp_path, NOW + 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.run)
        await gate.check(token, Scope.READ)
        await trio.testing.wait_all_tasks_blocked()
        assert tokens.all()[0].last_used_at is None
        await trio.sleep(61)
        assert tokens.all()[0].last_used_at == times.to_text(NOW + 5)
        tokens.note_uses({token_id: times.to_text(NOW)})
        assert tokens.all()[0].last_used_at == times.to_text(NOW + 5), "never earlier than noted"
        gate._clock = lambda: NOW + 9
        await gate.check(token, Scope.READ)
        nursery.cancel_scope.cancel()
    assert tokens.all()[0].last_used_at == times.to_text(NOW + 9)


async def test_who_uses_a_browser_session_uses_its_token(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Else whoever looks which tokens are used no more would revoke the one that they have signed in with."""
    token, _ = leave_token(tmp_path, "read", now=NOW)
    tokens = TokenFile(tmp_path / "access.db", lambda: NOW)
    sessions = BrowserSessionFile(tmp_path / "access.db", lambda: NOW)
    cookie = new_cookie(os.urandom)
    opening = Opening(
        session_id="ses_1", sha256=token_sha256(cookie), at=times.to_text(NOW), until="2027", sessions_max=9
    )
    assert isinstance(sessions.open_with_token(token_sha256(token), opening, NOW), StoredBrowserSession)
    assert tokens.all()[0].last_used_at == times.to_text(NOW), "signing in is a use"
    gate = Gate(tokens, AccessSettings(), clock=lambda: NOW + 5, offload=inline, sessions=sessions)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gate.run)
        assert isinstance(await gate.check_session(cookie, Scope.READ), Admitted)
        assert tokens.all()[0].last_used_at == times.to_text(NOW), "as seldom as other uses"
        await trio.sleep(61)
        assert tokens.all()[0].last_used_at == sessions.all()[0].last_used_at == times.to_text(NOW + 5)
        nursery.cancel_scope.cancel()


async def test_a_file_that_cannot_be_read_is_said_and_uses_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token, token_id = leave_token(tmp_path, "read")
    gate = gate_of(tmp_path)
    await gate.check(token, Scope.READ)
    good = (tmp_path / "access.db").read_bytes()
    (tmp_path / "access.db").write_bytes(b"x" * 4096)
    assert await gate.check(token, Scope.READ) == CannotTell()
    await gate._note()
    assert "the use of tokens is noted later" in caplog.text
    assert token not in caplog.text
    (tmp_path / "access.db").write_bytes(good)
    await gate._note()
    assert TokenFile(tmp_path / "access.db", lambda: NOW).all()[0].last_used_at is not None
    assert token_id in {each.token_id for each in TokenFile(tmp_path / "access.db", lambda: NOW).all()}


def test_dead_tokens_make_room_and_living_ones_never_do(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "access.db", lambda: NOW)
    assert tokens.add(stored("tok_a"), "a" * 64, tokens_max=2) is None
    assert tokens.add(stored("tok_b", expires_at=times.to_text(NOW + 5)), "b" * 64, tokens_max=2) is None
    assert isinstance(tokens.add(stored("tok_c"), "c" * 64, tokens_max=2), TooManyTokens)
    assert tokens.add(stored("tok_c", NOW + 6), "c" * 64, tokens_max=2) is None
    assert [each.token_id for each in tokens.all()] == ["tok_a", "tok_c"]
    assert tokens.revoke("tok_a", times.to_text(NOW + 7)) == "tok_a"
    assert tokens.add(stored("tok_d", NOW + 8), "d" * 64, tokens_max=2) is None
    assert [each.token_id for each in tokens.all()] == ["tok_c", "tok_d"]


def test_only_one_beginning_is_revoked(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path / "access.db", lambda: NOW)
    assert tokens.revoke("tok", "x") is None
    for name in ("tok_aa", "tok_ab"):
        tokens.add(stored(name), name.ljust(64, "0"), tokens_max=9)
    assert [tokens.revoke(name, "x") for name in ("", "tok_a", "tok_c", "tok_ab")] == [None, None, None, "tok_ab"]


def test_several_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    """Commands and the server, each with connections of its own."""
    tokens = TokenFile(tmp_path / "access.db", lambda: NOW)
    tokens.add(stored("tok_first"), "0" * 64, tokens_max=99)

    def write(number: int) -> None:
        for n in range(5):
            tokens.add(stored(f"tok_{number}_{n}"), f"{number}{n}".ljust(64, "0"), tokens_max=99)
            tokens.note_uses({"tok_first": times.to_text(NOW + n)})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens.all()) == 16
    connection = sqlite3.connect(tmp_path / "access.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()
    assert re.fullmatch(r"<TokenFile .*>", repr(tokens))

"""Sealed secrets open only with their key, in their place; the key is private, durable and never shown."""

import base64
import os
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import pytest

from persistence.databases.database import Database, Statement
from persistence.databases.key_check import CHECK_COLUMN, CHECK_TEXT, check_key
from persistence.databases.migrations import SESSIONS_SCHEMA, Schema
from persistence.files.failures import StorageDamage
from persistence.keys.sealing import ENVIRONMENT_VARIABLE, MasterKeyError, Sealer, load_master_key


class OpenDatabase(Protocol):
    """One of the ways to open a database (conftest.py)."""

    def __call__(self, path: Path, schema: Schema) -> AbstractAsyncContextManager[Database]: ...


KEY = bytes(range(32))
KEY_TEXT = base64.b64encode(KEY).decode()


def test_what_is_sealed_opens_in_its_place_and_shows_nothing() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal("s3cret", column="shared_secret", session_id="sess_1")
    assert sealed.startswith(f"v1.{sealer.key_id}.")
    assert "s3cret" not in sealed
    assert sealer.unseal(sealed, column="shared_secret", session_id="sess_1") == "s3cret"


def test_each_sealing_has_a_nonce_of_its_own() -> None:
    sealer = Sealer(KEY)
    assert len({sealer.seal("same", column="c", session_id="s") for _ in range(100)}) == 100


@pytest.mark.parametrize(("column", "session_id"), [("server_private_key", "sess_1"), ("shared_secret", "sess_2")])
def test_a_sealed_value_moved_to_another_place_does_not_open(column: str, session_id: str) -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal("s3cret", column="shared_secret", session_id="sess_1")
    with pytest.raises(MasterKeyError, match="damaged or belongs to another row"):
        sealer.unseal(sealed, column=column, session_id=session_id)


def test_a_changed_character_anywhere_is_noticed() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal("s3cret", column="c", session_id="s")
    for index, character in enumerate(sealed):
        changed = sealed[:index] + ("A" if character != "A" else "B") + sealed[index + 1 :]
        if base64.b64decode(changed[12:] + "==") == base64.b64decode(sealed[12:] + "==") and index >= 12:
            continue  # base64's last character has bits that stand for nothing
        with pytest.raises(MasterKeyError):
            sealer.unseal(changed, column="c", session_id="s")


def test_another_key_is_named_by_its_id_only() -> None:
    sealed = Sealer(KEY).seal("s3cret", column="c", session_id="s")
    with pytest.raises(MasterKeyError, match=r"sealed with the key [0-9a-f]{8}, and the key in use is [0-9a-f]{8}"):
        Sealer(bytes(32)).unseal(sealed, column="c", session_id="s")


def test_the_repr_shows_no_key() -> None:
    text = repr(Sealer(KEY))
    assert KEY_TEXT not in text
    assert KEY.hex() not in text


async def test_another_key_than_the_database_s_is_refused_at_the_start(open_any: OpenDatabase, tmp_path: Path) -> None:
    async with open_any(tmp_path / "sessions.db", SESSIONS_SCHEMA) as database:
        await check_key(Sealer(KEY), database, keys_folder=tmp_path)
        await check_key(Sealer(KEY), database, keys_folder=tmp_path)
        with pytest.raises(MasterKeyError, match="is not the one that sealed this data directory's sessions"):
            await check_key(Sealer(bytes(32)), database, keys_folder=tmp_path)
        with pytest.raises(MasterKeyError, match=f"put back {tmp_path}/master.key or CENTRAL_COMMAND_MASTER_KEY"):
            await check_key(Sealer(bytes(32)), database, keys_folder=tmp_path)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (lambda sealed: "v2" + sealed[2:], "in the format 'v2', which is not known: it was written by a later version"),
        (lambda sealed: "nonsense" * 1_000, "is sealed in the format 'nonsensenonsense', which is not known"),
        (lambda sealed: "", "is sealed in the format '', which is not known"),
        (lambda sealed: sealed[:20] + "AAAA" + sealed[24:], "is damaged: it names the master key in use"),
    ],
    ids=["another format", "nonsense", "nothing", "changed"],
)
async def test_a_check_that_no_key_opens_is_not_said_to_be_another_key_s(
    open_any: OpenDatabase, tmp_path: Path, changed: Callable[[str], str], sentence: str
) -> None:
    async with open_any(tmp_path / "sessions.db", SESSIONS_SCHEMA) as database:
        await check_key(Sealer(KEY), database, keys_folder=tmp_path)
        sealed = changed(Sealer(KEY).seal(CHECK_TEXT, column=CHECK_COLUMN, session_id=""))
        await database.write([Statement("UPDATE key_check SET sealed = ?", [(sealed,)])], durable=False)
        with pytest.raises(StorageDamage, match=sentence):
            await check_key(Sealer(KEY), database, keys_folder=tmp_path)


def test_the_environment_s_key_wins_and_writes_nothing(tmp_path: Path) -> None:
    assert load_master_key(tmp_path / "keys", {ENVIRONMENT_VARIABLE: KEY_TEXT}) == KEY
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("wrong", ["", "!", KEY_TEXT[:-8], KEY.hex(), "secret-not-base64\u00e9"])
def test_a_wrong_key_is_refused_without_showing_it(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(MasterKeyError, match="CENTRAL_COMMAND_MASTER_KEY must hold the base64 of 32 bytes") as caught:
        load_master_key(tmp_path, {ENVIRONMENT_VARIABLE: wrong})
    assert len(wrong) < 5 or wrong not in str(caught.value)


def test_a_new_key_is_private_and_stays_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    key = load_master_key(folder, {})
    assert len(key) == 32
    assert load_master_key(folder, {}) == key
    assert [each.name for each in folder.iterdir()] == ["master.key"]
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_new_key_is_synced_before_its_name_is_and_both_before_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    seen: list[tuple[bool, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (folder / "master.key").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    load_master_key(folder, {})
    assert seen == [(True, False), (False, False), (True, True)]


def test_a_key_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    load_master_key(tmp_path, {})
    (tmp_path / "master.key").chmod(0o640)
    with pytest.raises(MasterKeyError, match=r"has mode 0640, so others may have read it: .*chmod 600"):
        load_master_key(tmp_path, {})


def test_a_damaged_key_file_is_refused_and_not_replaced(tmp_path: Path) -> None:
    load_master_key(tmp_path, {})
    (tmp_path / "master.key").write_bytes(b"half a key\n")
    with pytest.raises(MasterKeyError, match=r"master\.key must hold the base64 of 32 bytes"):
        load_master_key(tmp_path, {})
    assert (tmp_path / "master.key").read_bytes() == b"half a key\n"


def test_all_of_a_new_key_is_written_when_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still in the process then would be lost with a power failure, and every session's key with it."""
    sizes: list[int] = []

    def noted(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", noted)
    load_master_key(tmp_path / "keys", {})
    (path,) = (tmp_path / "keys").iterdir()
    assert sizes == [path.stat().st_size]

"""Which master key sealed sessions.db: a text that only that key opens, so that another one is noticed at the start."""

from pathlib import Path
from typing import Final

from persistence.databases.database import Database, Statement
from persistence.files.failures import StorageDamage
from persistence.keys.sealing import ENVIRONMENT_VARIABLE, KEY_FILE, MasterKeyError, Sealer, format_of, key_id_of

CHECK_TEXT: Final = "central-command"
CHECK_COLUMN: Final = "key_check"


async def sealed_check(database: Database) -> str | None:
    """Return the text that tells which key sealed sessions.db; None when it is new."""
    rows = await database.read("SELECT sealed FROM key_check")
    return rows[0][0] if rows else None


def sealed_with(sealed: str) -> str:
    """Return the id of the key that a check was sealed with; raises StorageDamage where it cannot be told."""
    key_id = key_id_of(sealed)
    if key_id is None:
        raise StorageDamage(
            f"the key_check of sessions.db is sealed in the format {format_of(sealed)!r}, which is not known: it was "
            "written by a later version of this program, or damaged: use that version, or restore sessions.db from a "
            "backup."
        )
    return key_id


def open_check(sealer: Sealer, sealed: str, *, keys_folder: Path) -> None:
    """Refuse a key that does not open a check: MasterKeyError for another one, StorageDamage where it should.

    `keys_folder` is where a key file of this data directory would be, which the sentence names.
    """
    if sealed_with(sealed) != sealer.key_id:
        raise MasterKeyError(
            f"the master key (id {sealer.key_id}) is not the one that sealed this data directory's sessions: "
            f"put back {keys_folder / KEY_FILE} or {ENVIRONMENT_VARIABLE} as it was when the data was written"
        )
    try:
        sealer.unseal(sealed, column=CHECK_COLUMN, session_id="")
    except MasterKeyError:
        raise StorageDamage(
            f"the key_check of sessions.db is damaged: it names the master key in use (id {sealer.key_id}), which does "
            "not open it: restore sessions.db from a backup."
        ) from None


async def check_key(sealer: Sealer, database: Database, *, keys_folder: Path) -> None:
    """Refuse a key other than the one that sealed sessions.db, as `open_check` does; a new database takes this one."""
    sealed = await sealed_check(database)
    if sealed is None:
        sealed = sealer.seal(CHECK_TEXT, column=CHECK_COLUMN, session_id="")
        insert = Statement("INSERT INTO key_check (id, sealed) VALUES (1, ?)", [(sealed,)])
        await database.write([insert], durable=True)
        return
    open_check(sealer, sealed, keys_folder=keys_folder)

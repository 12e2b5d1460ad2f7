"""Which master key sealed sessions.db: a text that only that key opens, so that another one is noticed at the start."""

from typing import Final

from persistence.databases.database import Database, Statement
from persistence.keys.sealing import ENVIRONMENT_VARIABLE, KEY_FILE, MasterKeyError, Sealer

CHECK_TEXT: Final = "central-command"
CHECK_COLUMN: Final = "key_check"


async def sealed_check(database: Database) -> str | None:
    """Return the text that tells which key sealed sessions.db; None when it is new."""
    rows = await database.read("SELECT sealed FROM key_check")
    return rows[0][0] if rows else None


async def check_key(sealer: Sealer, database: Database) -> None:
    """Refuse (`MasterKeyError`) a key other than the one that sealed sessions.db; a new database takes this one."""
    sealed = await sealed_check(database)
    if sealed is None:
        sealed = sealer.seal(CHECK_TEXT, column=CHECK_COLUMN, session_id="")
        insert = Statement("INSERT INTO key_check (id, sealed) VALUES (1, ?)", [(sealed,)])
        await database.write([insert], durable=True)
        return
    try:
        sealer.unseal(sealed, column=CHECK_COLUMN, session_id="")
    except MasterKeyError:
        raise MasterKeyError(
            f"the master key (id {sealer.key_id}) is not the one that sealed this data directory's sessions: "
            f"put back data/keys/{KEY_FILE} or {ENVIRONMENT_VARIABLE} as it was when the data was written"
        ) from None

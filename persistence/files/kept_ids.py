"""Random ids, each in a file of its own that is made once."""

import secrets
from pathlib import Path

from persistence.files.file_system import OsFileSystem


def keep_new_id(path: Path) -> None:
    """Put 32 random hexadecimal digits and a newline into a new file, 0600, unless there is one.

    It is there whole or not at all, and stays: of two programs that start at once, both then read the same one. Raises
    OSError.
    """
    files = OsFileSystem()
    files.make_directory(path.parent)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = files.create(draft)
    try:
        file.write_at([secrets.token_hex(16).encode() + b"\n"], 0)
        file.sync()
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
    finally:
        file.close()
        draft.unlink()
    files.sync_directory(path.parent)

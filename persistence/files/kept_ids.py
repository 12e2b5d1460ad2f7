"""Files that are made once and stay: random ids, each in one of its own, and what is kept beside them."""

import secrets
from pathlib import Path

from persistence.files.file_system import OsFileSystem


def new_id() -> str:
    """32 random hexadecimal digits."""
    return secrets.token_hex(16)


def keep_new_id(path: Path, kept_id: str | None = None) -> bool:
    """Put an id, a new one unless it is given, and a newline into a file as `keep_new` does."""
    return keep_new(path, f"{kept_id or new_id()}\n".encode("ascii"))


def keep_new(path: Path, content: bytes) -> bool:
    """Put `content` into a new file, 0600; False, and nothing is changed, when there is one already.

    It is there whole or not at all, and stays: of two programs that start at once, both then read the same one. Raises
    OSError.
    """
    files = OsFileSystem()
    files.make_directory(path.parent)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    file = files.create(draft)
    try:
        file.write_at([content], 0)
        file.sync()
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
    finally:
        file.close()
        draft.unlink()
    files.sync_directory(path.parent)
    return True

"""Names from outside, of files and of sessions, as text that is shown and as text that is kept.

A file's name is any bytes. Python reads those that are no UTF-8 as lone surrogates (PEP 383), which neither JSON nor
SQLite nor a terminal takes, and an agent's own id of a session may hold some, too.
"""

import hashlib
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from central_command.process.steering import escaped

_FILE_URI = "file:///"
_KEY_CHARS_MAX = 4_096
"""Longer ids of sessions are kept as their SHA-256; Linux has no longer paths."""


def shown_path(path: Path) -> str:
    """The path on one line, whole; what is no UTF-8 in it, or could steer a terminal, is escaped."""
    return escaped(str(path))


def kept_path(path: Path) -> str:
    """An absolute path as text of which `path_of` makes the same path again: itself, or a file URI if it is no text."""
    return str(path) if _is_text(str(path)) else path.as_uri()


def path_of(kept: str) -> Path:
    """The path that was kept."""
    if kept.startswith(_FILE_URI):
        return Path(os.fsdecode(unquote_to_bytes(kept.removeprefix("file://"))))
    return Path(kept)


def kept_key(key: str) -> str:
    """An agent's id of a session as text that can be kept: nearly always itself."""
    if _is_text(key) and len(key) <= _KEY_CHARS_MAX:
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

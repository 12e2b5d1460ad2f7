"""Contributors appear under a pseudonym: HMAC-SHA-256 of their id under a key that only the server has.

The same contributor has the same pseudonym in all exports of one server; nobody without the key gets from a pseudonym
to an id, or tells whether an id is theirs.
"""

import hmac
import threading
from functools import lru_cache
from pathlib import Path
from typing import Final

from persistence.keys.sealing import load_pseudonym_key

PREFIX: Final = "con_"
DIGITS: Final = 32
REMEMBERED_MAX: Final = 65_536
"""Pseudonyms that are remembered; guards memory (some 20 MB)."""


class Pseudonyms:
    """Gives pseudonyms by a key of 32 bytes, which its repr does not show."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.of = lru_cache(maxsize=REMEMBERED_MAX)(self._of)
        """The pseudonym of a contributor's id: `con_` and 32 hexadecimal digits."""

    def __repr__(self) -> str:
        return "<Pseudonyms>"

    def _of(self, contributor_id: str) -> str:
        return PREFIX + hmac.digest(self._key, contributor_id.lower().encode(), "sha256").hex()[:DIGITS]


class StoredPseudonyms:
    """The same by the key in a folder, which is read when the first is asked for, and made if there is none yet."""

    def __init__(self, keys_folder: Path) -> None:
        self._keys_folder = keys_folder
        self._lock = threading.Lock()
        self._known: Pseudonyms | None = None

    def __repr__(self) -> str:
        return f"<StoredPseudonyms {self._keys_folder}>"

    def of(self, contributor_id: str) -> str:
        """The pseudonym of a contributor's id. Blocking; raises MasterKeyError where the key cannot be used."""
        with self._lock:
            if self._known is None:
                self._known = Pseudonyms(load_pseudonym_key(self._keys_folder))
        return self._known.of(contributor_id)

"""Contributors appear under a pseudonym: HMAC-SHA-256 of their id under a key that only the server has.

The same contributor has the same pseudonym in all exports of one server; nobody without the key gets from a pseudonym
to an id, or tells whether an id is theirs.
"""

import hmac
from functools import lru_cache
from typing import Final

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

"""What was found in the texts of a session, without saying what it was."""

import secrets
from collections import Counter
from hashlib import blake2b

import msgspec

VALUES_MAX = 65_536


class Finding(msgspec.Struct, frozen=True, array_like=True):
    """A placeholder at `offset` (characters) of the scrubbed text; `ordinal` is the same for the same value, from 1.

    An ordinal of 0 says that the session holds more values than are told apart.
    """

    offset: int
    category: str
    ordinal: int


class Scrubbed(msgspec.Struct, frozen=True):
    """A scrubbed text and its findings, in order of their offsets."""

    text: str
    findings: tuple[Finding, ...]


class SessionOrdinals:
    """Numbers the values of a session under a key that lives as long as this object: the same value, the same number.

    At most `values_max` values are told apart, in 16 bytes each.
    """

    def __init__(self, *, values_max: int = VALUES_MAX) -> None:
        self._key = secrets.token_bytes(32)
        self._values_max = values_max
        self._ordinals: dict[bytes, int] = {}
        self._last: Counter[str] = Counter()

    def ordinal(self, category: str, value: str) -> int:
        """The number of a value within its category, or 0 when too many are known already."""
        message = f"{category}\0{value}".encode("utf-8", "surrogatepass")
        digest = blake2b(message, key=self._key, digest_size=16).digest()
        known = self._ordinals.get(digest)
        if known is not None:
            return known
        if len(self._ordinals) >= self._values_max:
            return 0
        self._last[category] += 1
        self._ordinals[digest] = self._last[category]
        return self._last[category]

    def __repr__(self) -> str:
        return f"<SessionOrdinals {len(self._ordinals)} of {self._values_max} values>"

"""Of whom envelopes are refused, in memory: all that an envelope's answer depends on of consent and erasure. Pure.

A contributor is 16 bytes here, the beginning of the digest that stands for them in the consent journal: 128 bits of
chance in, 128 bits out. An entry takes about 100 bytes. While nobody was erased, has withdrawn or registered a key, an
envelope costs the look at three empty collections; otherwise a SHA-256 of 32 bytes and three look-ups.
"""

from typing import Final

from persistence.format.consent_events import DIGEST_PREFIX, subject_digest, user_name

SUBJECT_BYTES: Final = 16


def subject_of(contributor_id: str) -> str:
    """Return the digest that stands for a contributor, whose id is 32 hexadecimal digits of either case."""
    return subject_digest(contributor_id.lower())


def subject_of_user(user_id: str) -> str:
    """Return the digest that stands for a user of an application, whose id counts as it is written.

    What is hashed is no contributor's id, whatever the user's is: so nobody speaks for a user who has no token for it,
    and nobody with a token for a contributor.
    """
    return subject_digest(user_name(user_id))


def subject_key(subject: str) -> bytes:
    """Return the 16 bytes that a digest begins with."""
    return bytes.fromhex(subject.removeprefix(DIGEST_PREFIX)[: 2 * SUBJECT_BYTES])


def contributor_key(contributor_id: str) -> bytes:
    """Return the 16 bytes that stand for a contributor."""
    return subject_key(subject_of(contributor_id))


class Restrictions:
    """Who was erased, who has withdrawn, and who has a key; each changes after the line that says so is on disk.

    The register of consent changes the last two, erasure (`actors.erasure.job`) the first.
    """

    __slots__ = ("erased", "keys", "withdrawn")

    def __init__(self) -> None:
        self.erased: set[bytes] = set()
        """Bounded by `storage.erasures_max`."""
        self.withdrawn: set[bytes] = set()
        self.keys: dict[bytes, bytes] = {}
        """The public key of each contributor who has registered one, 32 bytes."""

    def __repr__(self) -> str:
        return f"<Restrictions erased={len(self.erased)} withdrawn={len(self.withdrawn)} keys={len(self.keys)}>"

    def __bool__(self) -> bool:
        return bool(self.erased or self.withdrawn or self.keys)

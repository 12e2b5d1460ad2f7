"""The key that a contributor speaks with, Ed25519 (docs/protocol.md, "Contributors"): made once, kept beside their id.

A key belongs to one contributor id, and its file is named for it. So an id that is copied to a machine without its key
is known to have none there, and no machine's key is ever registered for another one's id.
"""

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from actors.consent.signatures import body_digest, opening_text, request_text
from persistence.files.kept_ids import keep_new
from persistence.files.regular import open_file

CONTRIBUTOR_ID = re.compile(r"\A[0-9a-f]{32}\Z")
_SHOWN_CHARS = 8
"""So much of an id servers show of others: enough to know one's own by."""
_PEM_BYTES_MAX = 2_000
"""A key of this kind takes 119."""


class ContributorKeyError(Exception):
    """A key cannot be read or kept; the text is one sentence that says which and why."""


class OpeningClaim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an opening says of whom it is for: the contributor alone, or with their key and its signature."""

    contributor_id: str
    contributor_key: str | None = None
    contributor_signature: str | None = None

    def __repr__(self) -> str:
        return f"<OpeningClaim{'' if self.contributor_key is None else ' signed'}>"


class ContributorKey:
    """The key of one contributor; its repr shows neither the key nor the id."""

    def __init__(self, contributor_id: str, private_key: Ed25519PrivateKey) -> None:
        self.contributor_id = contributor_id
        self._private_key = private_key

    def __repr__(self) -> str:
        return f"<ContributorKey {self.public_key}>"

    @property
    def public_key(self) -> str:
        """Base64 of the public half, 32 bytes."""
        return base64.b64encode(self._private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    @property
    def pem(self) -> str:
        """The private key as openssl reads it: PKCS #8 in PEM (RFC 8410). A secret."""
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def claim(self, session_id: str, session_public_key: str) -> OpeningClaim:
        """What the opening of a session with this public key says."""
        text = opening_text(session_id, session_public_key, self.contributor_id, self.public_key)
        return OpeningClaim(
            contributor_id=self.contributor_id,
            contributor_key=self.public_key,
            contributor_signature=self._signature(text),
        )

    def request_headers(self, method: str, path: str, body: bytes, *, time_s: int) -> dict[str, str]:
        """The headers that sign a request; `time_s` is now, in seconds since the epoch."""
        text = request_text(method, path, time_s, body_digest(body))
        return {"Signature-Time": str(time_s), "Contributor-Signature": self._signature(text)}

    def _signature(self, text: bytes) -> str:
        return base64.b64encode(self._private_key.sign(text)).decode()


KeyOf = Callable[[str], ContributorKey | None]
"""The key that is kept of a contributor id now; None for none. It reads a file, and raises ContributorKeyError."""


NOT_SIGNED = "not_signed"
"""The code of a 403 for what is not signed with the key that a contributor has registered."""


def wants_key(code: object, reason: str) -> bool:
    """Whether a 403 asks for a contributor's key; earlier servers gave no code, and for a ban a sentence of its own."""
    return code == NOT_SIGNED if isinstance(code, str) else "has banned it" not in reason


def shown_contributor(contributor_id: str) -> str:
    """An id for its owner to know, in what may be shown around: who knows all of it can use it, where it has no key."""
    return f"{contributor_id[:_SHOWN_CHARS]}…"


def export_advice(contributor_id: str, *, has_key: bool) -> str:
    """What to do where a server wants another key of a contributor than this machine has: part of a sentence."""
    which = "another key" if has_key else "no key"
    return (
        f"this machine has {which} of contributor {shown_contributor(contributor_id)}: write it to a file with"
        " `central-command contributor export FILE` where it is, read it with `contributor import FILE` here"
    )


def no_key(_contributor_id: str) -> None:
    """Nobody has a key."""


def key_path(directory: Path, contributor_id: str) -> Path:
    """Where the key of a contributor is kept in the configuration directory."""
    return directory / f"contributor_key_{contributor_id}.pem"


def key_of(directory: Path, contributor_id: str) -> ContributorKey | None:
    """The key that is kept of a contributor; None for none. Raises ContributorKeyError."""
    path = key_path(directory, contributor_id)
    try:
        with os.fdopen(open_file(path, follows_links=True), "rb") as file:
            pem = file.read(_PEM_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ContributorKeyError(f"Cannot read the key in {path}: {error.strerror or error}.") from error
    try:
        return ContributorKey(contributor_id, private_key_of(pem))
    except ValueError as error:
        raise ContributorKeyError(f"{path} holds no Ed25519 key in PEM; restore it from where you have it.") from error


def signs(directory: Path | None, contributor_id: str) -> bool:
    """Whether sessions of a contributor are opened with their key from here, as far as it can be read."""
    try:
        return directory is not None and key_of(directory, contributor_id) is not None
    except ContributorKeyError:
        return False


def private_key_of(pem: bytes) -> Ed25519PrivateKey:
    """The key that a PEM text holds; raises ValueError for anything else."""
    try:
        found = load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("no key without a password") from error
    if not isinstance(found, Ed25519PrivateKey):
        raise ValueError("no Ed25519 key")  # noqa: TRY004 (of what kind it is depends on the text)
    return found


def keep_key(directory: Path, key: ContributorKey) -> ContributorKey:
    """Keep this key of its contributor unless there is one, and return the one that is kept then.

    Its file is 0600 in a folder 0700, and there whole or not at all. Raises ContributorKeyError.
    """
    path = key_path(directory, key.contributor_id)
    try:
        keep_new(path, key.pem.encode())
    except OSError as error:
        raise ContributorKeyError(f"Cannot keep a key in {path}: {error.strerror or error}.") from error
    kept = key_of(directory, key.contributor_id)
    if kept is None:
        raise ContributorKeyError(f"The key in {path} was removed while it was made; try again.")
    return kept


def make_key(directory: Path, contributor_id: str) -> ContributorKey:
    """The key of a contributor, made unless there is one; as `keep_key`."""
    return keep_key(directory, ContributorKey(contributor_id, Ed25519PrivateKey.generate()))

"""Sealing of secrets: a copied database gives nobody a session's secret.

AES-256-GCM with a fresh 96-bit nonce for each value; at 2^32 values under one key the chance of a repeated nonce is
still 2^-32 (NIST SP 800-38D, section 8.3). The column and the session are associated data, so a sealed value that is
moved to another row or column does not open. The text form `v1.<key id>.<base64>` names its format and its key.
"""

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from persistence.files.regular import open_file

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
FORMAT: Final = "v1"
ENVIRONMENT_VARIABLE: Final = "CENTRAL_COMMAND_MASTER_KEY"
KEY_FILE: Final = "master.key"
PSEUDONYM_KEY_FILE: Final = "pseudonyms.key"

FORMAT_CHARS_MAX: Final = 16
"""How much of a format's name is said: a damaged text may be one long name."""


class MasterKeyError(Exception):
    """The master key cannot be used: one sentence says why, and never shows the key."""


class Sealer:
    """Seals text with the master key of 32 bytes; its repr shows the key's id only."""

    def __init__(self, key: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        assert len(key) == KEY_BYTES, "a master key has 32 bytes"
        self._cipher = AESGCM(key)
        self._random_bytes = random_bytes
        self.key_id = hashlib.sha256(b"central-command key id\0" + key).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"<Sealer key_id={self.key_id}>"

    def seal(self, text: str, *, column: str, session_id: str) -> str:
        """Seal `text`, bound to its column and session."""
        nonce = self._random_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), _associated_data(column, session_id))
        return f"{FORMAT}.{self.key_id}.{base64.b64encode(nonce + sealed).decode()}"

    def unseal(self, sealed: str, *, column: str, session_id: str) -> str:
        """Open what `seal` returned for the same column and session; raises `MasterKeyError`."""
        version, key_id, text = _parts(sealed)
        if version != FORMAT:
            raise MasterKeyError(f"{column} of session {session_id} is sealed in a format that is not known")
        if key_id != self.key_id:
            raise MasterKeyError(
                f"{column} of session {session_id} is sealed with the key {key_id}, and the key in use is {self.key_id}"
            )
        try:
            octets = base64.b64decode(text, validate=True)
            plain = self._cipher.decrypt(
                octets[:NONCE_BYTES], octets[NONCE_BYTES:], _associated_data(column, session_id)
            )
        except (binascii.Error, InvalidTag, ValueError):
            raise MasterKeyError(f"{column} of session {session_id} is damaged or belongs to another row") from None
        return plain.decode()


def key_id_of(sealed: str) -> str | None:
    """Return the id of the key that a text was sealed with; None where it is sealed in a format that is not known."""
    version, key_id, _ = _parts(sealed)
    return key_id if version == FORMAT else None


def format_of(sealed: str) -> str:
    """Return the name of the format that a text is sealed in, for people, known or not."""
    return _parts(sealed)[0][:FORMAT_CHARS_MAX]


def _parts(sealed: str) -> tuple[str, str, str]:
    """Return the name of the format, the key's id, and the rest."""
    version, _, rest = sealed.partition(".")
    key_id, _, text = rest.partition(".")
    return version, key_id, text


def _associated_data(column: str, session_id: str) -> bytes:
    return f"{column}\0{session_id}".encode()


def load_master_key(keys_folder: Path, environment: Mapping[str, str], *, needed: str | None = None) -> bytes:
    """The key from CENTRAL_COMMAND_MASTER_KEY, else from `master.key` in `keys_folder`, which is created if missing.

    Both are base64 of 32 bytes. A new file is on disk, with its name, before this returns. None is created where a
    certain key is `needed` (its id), because sessions were sealed with it. A key file that others may read is refused
    and not repaired: it may have been read already, which is for its owner to judge. Raises `MasterKeyError`.
    """
    given = environment.get(ENVIRONMENT_VARIABLE)
    if given is not None:
        return _decoded(given, ENVIRONMENT_VARIABLE)
    path = keys_folder / KEY_FILE
    if needed is not None and not path.exists():
        raise MasterKeyError(
            f"the master key (id {needed}) that sealed this data directory's sessions is missing: put back {path} "
            f"or {ENVIRONMENT_VARIABLE} as it was when the data was written"
        )
    return _key_in(path)


def load_pseudonym_key(keys_folder: Path) -> bytes:
    """The key that pseudonyms are made with, from `pseudonyms.key` in `keys_folder`, which is created if missing.

    It is kept as the master key is, and is none: it seals nothing, and may lie beside what it is used for. Raises
    `MasterKeyError`.
    """
    return _key_in(keys_folder / PSEUDONYM_KEY_FILE)


def _key_in(path: Path) -> bytes:
    """The key in a file, which is created if missing."""
    try:
        if not path.exists():
            _create(path)
        return _decoded(_read_private(path), str(path))
    except OSError as error:
        raise MasterKeyError(f"the key file {path} cannot be used: {error.strerror}") from error


def find_master_key(keys_folder: Path, environment: Mapping[str, str]) -> bytes | None:
    """The key from where `load_master_key` takes it; None where there is none. Makes none; raises `MasterKeyError`."""
    if ENVIRONMENT_VARIABLE not in environment and not (keys_folder / KEY_FILE).exists():
        return None
    return load_master_key(keys_folder, environment)


def _decoded(text: str, source: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        # Without the exception: its text and its locals would hold the key.
        raise MasterKeyError(
            f"{source} must hold the base64 of {KEY_BYTES} bytes (make one with: openssl rand -base64 {KEY_BYTES})"
        ) from None
    return key


def _read_private(path: Path) -> str:
    descriptor = open_file(path, follows_links=True)
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise MasterKeyError(
                f"the key file {path} has mode {mode:04o}, so others may have read it: "
                f"if that is no harm, run chmod 600 {path}"
            )
        return file.read(1_024).decode("ascii", errors="replace")


def _create(path: Path) -> None:
    """Write a new key beside its place, sync it, and link it there: whoever sees the file sees a whole, durable key."""
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        _sync_folder(folder.parent)
    draft = folder / f".{path.name}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return  # another process was first: its key is the key
    finally:
        draft.unlink()
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

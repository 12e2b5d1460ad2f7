"""A contributor's key: made with their id, once, private, for that id alone; and what it signs verifies."""

import base64
import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from central_command.client.contract import identity as identity_module
from central_command.client.contract.contributor_keys import (
    ContributorKeyError,
    key_of,
    key_path,
    make_key,
)
from central_command.client.contract.identity import IdentityError, load_identity
from persistence.files import kept_ids

SOURCE = Path(identity_module.__file__)
ID = "0123456789abcdef" * 2
OTHER = "f" * 32


def test_an_id_that_is_made_here_has_a_key_from_the_beginning(tmp_path: Path) -> None:
    """Its file is private, and a second start finds the same key."""
    directory = tmp_path / "config"
    identity = load_identity(directory, source_file=SOURCE)
    key = identity.key_of(identity.contributor_id)
    assert key is not None
    path = key_path(directory, identity.contributor_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    again = load_identity(directory, source_file=SOURCE).key_of(identity.contributor_id)
    assert again is not None
    assert again.public_key == key.public_key


def test_an_id_that_was_there_before_gets_no_key_by_itself(tmp_path: Path) -> None:
    """Other machines may use it without one: a key would have the server credit those no more."""
    (tmp_path / "contributor_id").write_text(f"{ID}\n")
    identity = load_identity(tmp_path, source_file=SOURCE)
    assert identity.contributor_id == ID
    assert identity.key_of(ID) is None
    given = load_identity(tmp_path, source_file=SOURCE, contributor_id=OTHER)
    assert given.key_of(OTHER) is None


def test_a_key_is_that_of_its_contributor_alone(tmp_path: Path) -> None:
    """An id that takes another's place is not signed for with the key of the former one."""
    made = load_identity(tmp_path, source_file=SOURCE)
    (tmp_path / "contributor_id").write_text(f"{OTHER}\n")
    assert load_identity(tmp_path, source_file=SOURCE).key_of(OTHER) is None
    assert made.key_of(made.contributor_id) is not None


def test_whoever_comes_second_takes_the_firsts_id_and_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both end with one id and its key, and the key that was made in vain is gone."""
    keep, raced = kept_ids.keep_new_id, list[str]()

    def late(path: Path, kept_id: str | None = None) -> bool:
        if path.name == "contributor_id":
            monkeypatch.setattr(identity_module, "keep_new_id", keep)
            raced.append(load_identity(tmp_path, source_file=SOURCE).contributor_id)
        return keep(path, kept_id)

    monkeypatch.setattr(identity_module, "keep_new_id", late)
    identity = load_identity(tmp_path, source_file=SOURCE)
    assert [identity.contributor_id] == raced
    assert [path.name for path in tmp_path.glob("*.pem")] == [key_path(tmp_path, raced[0]).name]


def test_processes_that_start_at_once_end_with_one_id_and_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from central_command.client.contract.identity import load_identity\n"
        "sys.stdin.readline()\n"
        "identity = load_identity(Path(sys.argv[1]), source_file=Path(sys.argv[2]))\n"
        "print(identity.contributor_id, identity.key_of(identity.contributor_id).public_key)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "config"), str(SOURCE)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for each in both:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    said = {each.communicate(timeout=60)[0] for each in both}
    assert len(said) == 1
    assert len(list((tmp_path / "config").glob("*.pem"))) == 1


def test_two_that_make_a_key_for_one_id_end_with_the_first(tmp_path: Path) -> None:
    assert make_key(tmp_path, ID).public_key == make_key(tmp_path, ID).public_key


def test_an_opening_is_signed_over_its_session_and_its_contributor(tmp_path: Path) -> None:
    key = make_key(tmp_path, ID)
    claim = key.claim("sess_1", "BHk=")
    assert (claim.contributor_id, claim.contributor_key) == (ID, key.public_key)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public_key))
    text = f"central-command opening v1\nsess_1\nBHk=\n{ID}\n{key.public_key}"
    public.verify(base64.b64decode(claim.contributor_signature or ""), text.encode())
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(claim.contributor_signature or ""), text.replace("sess_1", "sess_2").encode())


def test_a_request_is_signed_over_method_path_time_and_body(tmp_path: Path) -> None:
    key = make_key(tmp_path, ID)
    headers = key.request_headers("POST", "/v1/x", b"{}", time_s=1_795_169_542)
    assert headers["Signature-Time"] == "1795169542"
    text = f"central-command request v1\nPOST\n/v1/x\n1795169542\n{hashlib.sha256(b'{}').hexdigest()}"
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public_key))
    public.verify(base64.b64decode(headers["Contributor-Signature"]), text.encode())


def test_nothing_of_a_key_is_shown(tmp_path: Path) -> None:
    key = make_key(tmp_path, ID)
    shown = repr(key) + repr(key.claim("sess_1", "BHk="))
    assert ID not in shown
    assert not any(line in shown for line in key.pem.splitlines() if line)


@pytest.mark.parametrize("kind", ["torn", "empty", "another kind", "of a password"])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, kind: str) -> None:
    """In one sentence, and nothing is made in its place: it may be the only copy."""
    path = key_path(tmp_path, ID)
    other = generate_ec_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    good = make_key(tmp_path, ID).pem.encode()
    texts = {"torn": good[:60], "empty": b"", "another kind": other}
    bad = texts.get(kind, good.replace(b"PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"))
    path.write_bytes(bad)
    with pytest.raises(ContributorKeyError, match=r"\.pem holds no Ed25519 key in PEM; restore it"):
        key_of(tmp_path, ID)
    with pytest.raises(ContributorKeyError, match="holds no Ed25519 key"):
        make_key(tmp_path, ID)
    assert path.read_bytes() == bad


def test_a_folder_that_takes_no_key_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ContributorKeyError, match="Cannot keep a key in"):
        make_key(tmp_path / "file", ID)
    with pytest.raises(IdentityError):
        load_identity(tmp_path / "file", source_file=SOURCE)

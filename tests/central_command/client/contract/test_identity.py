"""The ids that a client keeps: made once, private, and never of the hardware."""

import hashlib
import re
import stat
from pathlib import Path

import pytest

from central_command.client.contract import identity as identity_module
from central_command.client.contract.identity import IdentityError, config_directory, load_identity

SOURCE = Path(identity_module.__file__)


def test_ids_are_made_once_in_private_files(tmp_path: Path) -> None:
    """A second start finds the same ids; files are 0600, their folder 0700, and no draft is left."""
    directory = tmp_path / "config" / "central-command"
    first = load_identity(directory, source_file=SOURCE)
    assert load_identity(directory, source_file=SOURCE) == first
    assert re.fullmatch("[0-9a-f]{32}", first.contributor_id)
    kept = {path.name: path for path in directory.iterdir()}
    key = f"contributor_key_{first.contributor_id}.pem"
    assert set(kept) == {"contributor_id", "machine_id", key}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.values()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    machine_id = kept["machine_id"].read_text().strip()
    assert first.machine_fingerprint == hashlib.sha256(machine_id.encode()).hexdigest()
    assert first.app_version_hash == hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    assert 0 < len(first.client_version) <= 20


def test_a_given_contributor_id_is_used_and_not_kept(tmp_path: Path) -> None:
    """It is for this run; digits may be upper case."""
    assert load_identity(tmp_path, source_file=SOURCE, contributor_id="AB" * 16).contributor_id == "ab" * 16
    assert not (tmp_path / "contributor_id").exists()


@pytest.mark.parametrize("wrong", ["", "abc", "g" * 32, "a" * 33, "a" * 31 + "\n"])
def test_a_wrong_contributor_id_is_refused(tmp_path: Path, wrong: str) -> None:
    """In one sentence that says what one is."""
    with pytest.raises(IdentityError, match="32 hexadecimal digits"):
        load_identity(tmp_path, source_file=SOURCE, contributor_id=wrong)


def test_a_damaged_or_unusable_file_is_named(tmp_path: Path) -> None:
    """The sentence says where, and what to do."""
    (tmp_path / "contributor_id").write_text("torn")
    with pytest.raises(IdentityError, match=r"contributor_id does not hold 32 .* delete it"):
        load_identity(tmp_path, source_file=SOURCE)
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="Cannot keep an id in"):
        load_identity(tmp_path / "file", source_file=SOURCE)


def test_the_configuration_directory_is_the_users() -> None:
    """XDG_CONFIG_HOME where it is absolute, else ~/.config."""
    assert config_directory({"XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg/central-command")
    assert config_directory({"XDG_CONFIG_HOME": "relative"}) == Path.home() / ".config/central-command"
    assert config_directory({}) == Path.home() / ".config/central-command"

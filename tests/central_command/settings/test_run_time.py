"""What a running server takes over from another reading of its settings, and what waits for a restart."""

import re
from pathlib import Path
from typing import Any

import pytest

from central_command.settings.configuration import SECTIONS, Settings, check_settings, load_settings, setting_types
from central_command.settings.run_time import RUN_TIME, change

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"


def read(tmp_path: Path, text: str) -> Settings:
    """The settings of a file."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_settings(path, {}, {})


def test_each_name_is_one_of_a_setting() -> None:
    """A name that no setting has would be taken over never."""
    assert {f"{section}.{key}" for section, kind in SECTIONS.items() for key in setting_types(kind)} >= RUN_TIME


def test_the_docs_list_them() -> None:
    """All of them and no others, so that an operator knows before."""
    text = DOCS.read_text()
    listed = text[text.index("### What changes without a restart") :]
    listed = listed[: listed.index("\n#", 1)]
    named: set[str] = set()
    for section, keys in re.findall(r"^\| `(\w+)` \| (.*) \|$", listed, re.MULTILINE):
        named |= {f"{section}.{key}" for key in re.findall(r"`(\w+)`", keys)}
    assert named == RUN_TIME


def test_what_can_change_is_taken_and_the_rest_named(tmp_path: Path) -> None:
    """What needs a restart keeps the value that is in force."""
    running = read(tmp_path, "[storage]\nquota_bytes = 50000000001\n")
    found = change(
        running,
        read(
            tmp_path,
            "[http]\nport = 1\nrequests_per_minute = 7\n[storage]\nquota_bytes = 60000000000\nopen_queue_max = 5\n"
            "[scoring]\nmodel_tiers = { o3 = 9 }\n[log]\nlevel = 'debug'\nqueue_lines_max = 99",
        ),
    )
    assert set(found.taken) == {
        "http.requests_per_minute",
        "storage.quota_bytes",
        "scoring.model_tiers",
        "log.level",
    }
    assert set(found.need_restart) == {"http.port", "storage.open_queue_max", "log.queue_lines_max"}
    settings = found.settings
    assert (settings.http.port, settings.http.requests_per_minute) == (8443, 7)
    assert (settings.storage.quota_bytes, settings.storage.open_queue_max) == (60_000_000_000, 1_024)
    assert settings.scoring.model_tiers == {"o3": 9}
    assert change(settings, settings).taken == change(settings, settings).need_restart == ()


@pytest.mark.parametrize(
    ("before", "after", "taken", "need_restart"),
    [
        ("", "a", (), ("http.tls_certificate", "http.tls_key")),
        ("a", "", (), ("http.tls_certificate", "http.tls_key")),
        ("a", "b", ("http.tls_certificate", "http.tls_key"), ()),
    ],
)
def test_tls_gets_other_files_but_is_not_turned_on_or_off(
    tmp_path: Path, before: str, after: str, taken: Any, need_restart: Any
) -> None:
    """That belongs to the socket that is listened on."""

    def with_files(name: str) -> Settings:
        return read(tmp_path, f"[http]\ntls_certificate = '{name}'\ntls_key = '{name}.key'" if name else "")

    found = change(with_files(before), with_files(after))
    assert (found.taken, found.need_restart) == (taken, need_restart)


def test_a_check_finds_everything_that_is_wrong(tmp_path: Path) -> None:
    """In the file and in the environment, a sentence each; what is only wrong together once the rest is right."""
    path = tmp_path / "config.toml"
    path.write_text("[http]\nprot = 1\nport = 70000\n[htp]\nport = 1\n[storage]\nquota_bytes = 1\n")
    environ = {"CENTRAL_COMMAND__LOG__LEVEL": "loud"}
    settings, wrong = check_settings(path, environ)
    assert settings is None
    assert [sentence.partition(": ")[2][:24] for sentence in wrong] == [
        "there is no setting http",
        "http.port is 70000, but ",
        "there is no section htp;",
        'log.level is "loud", but',
    ]
    path.write_text("[storage]\nquota_bytes = 1\n[http]\ntls_key = 'x'\n")
    settings, wrong = check_settings(path, {})
    assert len(wrong) == 2
    assert "TLS needs both" in wrong[0]
    assert "storage.quota_warning_bytes is 40000000000, but must be at most" in wrong[1]
    path.write_text("x")
    assert ["not valid TOML" in sentence for sentence in check_settings(path, environ)[1]] == [True, False]
    path.write_text("")
    assert check_settings(path, {}) == (Settings(), [])

"""Which settings a running server takes over when it is told to read them again (SIGHUP), and which need a restart."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from central_command.settings.configuration import SECTIONS, Settings, setting_types

RUN_TIME: Final = frozenset(
    {
        "log.level",
        "log.access",
        "http.tls_certificate",
        "http.tls_key",
        "http.trusted_proxies",
        "http.requests_per_minute",
        "http.requests_per_hour",
        "http.session_requests_per_hour",
        "http.browser_requests_per_minute",
        "http.embed_requests_per_minute",
        "http.embed_requests_per_hour",
        "sessions.envelopes_max",
        "sessions.session_bytes_max",
        "sessions.sequence_gaps",
        "sessions.opens_per_machine_per_h",
        "sessions.opens_per_contributor_per_h",
        "schema.providers",
        "schema.steps_max",
        "schema.step_content_chars_max",
        "schema.token_count_max",
        "schema.step_number_max",
        "schema.timestamp_age_s_max",
        "schema.timestamp_ahead_s_max",
        "schema.sequence_max",
        "schema.agent_role_chars_max",
        "schema.agent_id_chars_max",
        "schema.team_size_max",
        "storage.quota_bytes",
        "storage.quota_warning_bytes",
        "storage.free_bytes_min",
        "storage.free_space_check_s",
        "storage.check_share",
        "storage.check_interval_h",
        *(f"scoring.{name}" for name in setting_types(SECTIONS["scoring"])),
    }
)
"""The settings that a running server takes over; docs/operations.md lists them.

All others shape what is made once: sockets, queues, caches, the model.
"""


class Change(msgspec.Struct, frozen=True):
    """What another reading of the settings comes to: the settings in force from now on, and what differs.

    `taken` are in force, `need_restart` are not.
    """

    settings: Settings
    taken: tuple[str, ...]
    need_restart: tuple[str, ...]


def change(running: Settings, read: Settings) -> Change:
    """Compare what was read with what is in force, and take over what can be."""
    differing = list(_differing(running, read))
    # TLS as such is part of the listening socket; only its files can be others.
    fixed = {"http.tls_certificate", "http.tls_key"} if _is_tls_switched(running, read) else frozenset()
    taken = tuple(name for name in differing if name in RUN_TIME and name not in fixed)
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        values = {key: getattr(getattr(read, section), key) for key in _keys(taken, section)}
        sections[section] = msgspec.structs.replace(getattr(running, section), **values)
    rest = tuple(name for name in differing if name not in taken)
    return Change(Settings(**sections), taken, rest)


def _differing(running: Settings, read: Settings) -> Iterator[str]:
    for section, kind in SECTIONS.items():
        for key in setting_types(kind):
            if getattr(getattr(running, section), key) != getattr(getattr(read, section), key):
                yield f"{section}.{key}"


def _keys(names: tuple[str, ...], section: str) -> list[str]:
    return [name.removeprefix(f"{section}.") for name in names if name.startswith(f"{section}.")]


def _is_tls_switched(running: Settings, read: Settings) -> bool:
    return (running.http.tls_certificate is None) != (read.http.tls_certificate is None)

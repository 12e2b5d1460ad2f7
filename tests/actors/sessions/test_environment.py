"""The names that the server gives."""

import time
import uuid

from actors.sessions.environment import RandomIdentifiers


def test_names_are_uuids_of_time_and_chance() -> None:
    """RFC 9562: version 7, the variant of the standard, milliseconds first, and all other bits by chance."""
    began_at_ms = int(time.time() * 1_000)
    identifiers = RandomIdentifiers()
    names = [identifiers.envelope_id() for _ in range(500)] + [identifiers.trajectory_id() for _ in range(500)]
    assert len(set(names)) == 1_000
    numbers = []
    for name in names:
        kind, _, text = name.partition("_")
        found = uuid.UUID(text)
        assert kind in {"env", "traj"}
        assert str(found) == text
        assert (found.version, found.variant) == (7, uuid.RFC_4122)
        assert began_at_ms <= found.int >> 80 <= int(time.time() * 1_000)
        numbers.append(found.int & ((1 << 80) - 1))
    always, ever = numbers[0], 0
    for number in numbers:
        always &= number
        ever |= number
    assert always == (0x7 << 76) | (0x8 << 60)
    assert ever == (1 << 80) - 1 - (0x8 << 76) - (0x4 << 60)

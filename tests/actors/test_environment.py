"""The names that the server gives."""

import uuid

from actors.environment import RandomIdentifiers


def test_names_are_random_uuids() -> None:
    """RFC 9562: version 4, the variant of the standard, and all other bits by chance."""
    identifiers = RandomIdentifiers()
    names = [identifiers.envelope_id() for _ in range(500)] + [identifiers.trajectory_id() for _ in range(500)]
    assert len(set(names)) == 1_000
    numbers = []
    for name in names:
        kind, _, text = name.partition("_")
        found = uuid.UUID(text)
        assert kind in {"env", "traj"}
        assert str(found) == text
        assert (found.version, found.variant) == (4, uuid.RFC_4122)
        numbers.append(found.int)
    always, ever = numbers[0], 0
    for number in numbers:
        always &= number
        ever |= number
    assert always == (0x4 << 76) | (0x8 << 60)
    assert ever == 2**128 - 1 - (0xB << 76) - (0x4 << 60)

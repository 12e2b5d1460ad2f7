"""JSON text within a text, where a format wants one: compact, characters as they are, members in their order."""

import msgspec


def json_text(value: object) -> str:
    """A value as JSON text. It holds what JSON can hold; integers fit 64 bits."""
    return msgspec.json.encode(value).decode()

"""What a text is that an application hands over for one of its users (docs/protocol.md, "The intake")."""

import re
from enum import StrEnum
from typing import Final, TypeGuard

CONTENT_TYPES: Final = ("prompt", "completion", "conversation", "workflow")
ID_CHARS_MAX: Final = 256
METADATA_BYTES_MAX: Final = 65_536
"""As JSON: a few figures and names, not a second place for content."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class RecordKind(StrEnum):
    """What a line of the corpus was made of; the member `kind` says so."""

    TRAJECTORY = "trajectory"
    """A trajectory. Lines of earlier versions, which do not say it, are of this kind, too."""
    TEXT = "text"
    """A text of the intake."""


def is_id(value: object) -> TypeGuard[str]:
    """Whether it can be the id of a user or a session: a text of 1 to 256 characters."""
    return isinstance(value, str) and 0 < len(value) <= ID_CHARS_MAX and _SURROGATE.search(value) is None

"""Whether what somebody contributed may be in the corpus: what curation asks, and the answer where nobody is asked."""

from collections.abc import Callable
from typing import Final

import msgspec

CURRENT_VERSION: Final = "1.0"
"""The terms that published clients ask for (docs/privacy.md)."""


class ConsentState(msgspec.Struct, frozen=True, kw_only=True):
    """What a contributor agreed to when the record was made: written into it as it is."""

    given: bool
    version: str | None = None
    source: str | None = None


Consented = Callable[[str], ConsentState]
"""Says what the contributor with that id has agreed to; asked once for each record."""


def given_by_client(contributor_id: str) -> ConsentState:
    """Consent as published clients have it: they send only for people who opted in (`consent.mode` "client")."""
    del contributor_id
    return ConsentState(given=True, version=CURRENT_VERSION, source="client")

"""Making tokens and links, in one way for commands and the server. Blocking; raises DatabaseFailure."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import msgspec

from central_command.access.settings import AccessSettings
from central_command.access.tokens import Scope, new_id, new_link_code, new_token, token_sha256
from persistence.databases.access_tokens import StoredToken, TokenFile, TooManyTokens
from persistence.databases.browser_sessions import BrowserSessionFile, StoredLink, TooManyLinks
from persistence.format import times

NAME_CHARS_MAX: Final = 64


class NewToken(msgspec.Struct, frozen=True):
    """A token as it is kept, and its text, which is shown once."""

    stored: StoredToken
    text: str


class NewLink(msgspec.Struct, frozen=True):
    """A link as it is kept, and its code, which is shown once."""

    stored: StoredLink
    code: str


class Maker:
    """Makes tokens and links of a data directory; `clock` gives seconds since the epoch."""

    def __init__(
        self,
        path: Path,
        settings: AccessSettings,
        *,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._tokens = TokenFile(path, clock)
        self._links = BrowserSessionFile(path, clock)
        self._clock = clock
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"<Maker of {self._tokens!r}>"

    def token(self, scopes: Collection[Scope], name: str, lasting_s: float | None) -> NewToken | TooManyTokens:
        """Make a token that is valid for so long, None for until it is revoked."""
        text, now = new_token(self._random_bytes), self._clock()
        stored = StoredToken(
            token_id=new_id("tok", self._random_bytes),
            name=name,
            scopes=tuple(sorted({*scopes})),
            created_at=times.to_text(now),
            expires_at=None if lasting_s is None else times.to_text(now + lasting_s),
            revoked_at=None,
            last_used_at=None,
        )
        refused = self._tokens.add(stored, token_sha256(text), tokens_max=self._settings.tokens_max)
        return refused or NewToken(stored, text)

    def link(self, scopes: Collection[Scope]) -> NewLink | TooManyLinks:
        """Make a link that one browser may sign in with, within `access.link_s`."""
        code, now = new_link_code(self._random_bytes), self._clock()
        stored = StoredLink(
            link_id=new_id("lnk", self._random_bytes),
            scopes=tuple(sorted({*scopes})),
            created_at=times.to_text(now),
            expires_at=times.to_text(now + self._settings.link_s),
        )
        refused = self._links.add_link(stored, token_sha256(code), links_max=self._settings.links_max)
        return refused or NewLink(stored, code)

"""What a token is: `cc_` and 32 random bytes, of which only the SHA-256 is kept, and what it may be used for. Pure.

What a browser shows instead is made in the same way: a link's code (`cl_`), good for one sign-in, and a cookie's value.

256 bits of chance need no slow hash: nobody finds a token from its digest, and nobody guesses one. So a token is found
by its digest, as a row by its key; how long that takes tells at most something of the digest, which leads nowhere.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

TOKEN_BYTES: Final = 32
TOKEN: Final = re.compile(r"\Acc_[0-9A-Za-z_-]{43}\Z")
LINK_CODE: Final = re.compile(r"\Acl_[0-9A-Za-z_-]{43}\Z")
COOKIE: Final = re.compile(r"\A[0-9A-Za-z_-]{43}\Z")


class Scope(StrEnum):
    """What a token lets its holder do; none includes another."""

    READ = "read"
    """Figures, the corpus, search, the viewer."""
    INTAKE = "intake"
    """Hand over texts for an application's users, and what these say of consent."""
    EXPORT = "export"
    ADMIN = "admin"
    """Jobs, erasure, bans, tokens, raw sessions."""


def new_token(random_bytes: Callable[[int], bytes]) -> str:
    """A token that nobody has; it is shown once."""
    return f"cc_{new_cookie(random_bytes)}"


def new_link_code(random_bytes: Callable[[int], bytes]) -> str:
    """What a link is known by; it is shown once, and works once."""
    return f"cl_{new_cookie(random_bytes)}"


def new_cookie(random_bytes: Callable[[int], bytes]) -> str:
    """A value that nobody has: 32 random bytes in base64url, 43 characters."""
    return base64.urlsafe_b64encode(random_bytes(TOKEN_BYTES)).rstrip(b"=").decode()


def token_sha256(token: str) -> str:
    """What is kept of any of them: 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_id(prefix: str, random_bytes: Callable[[int], bytes]) -> str:
    """An id that is no secret: the prefix and 16 hexadecimal digits."""
    return f"{prefix}_{random_bytes(8).hex()}"

"""Where a server is and whom a client trusts there: a URL that can be one, and the HTTP client for it."""

import ssl
from pathlib import Path

import httpx
import msgspec

from central_command.client.contract.endpoints import DEFAULT_URL, INGEST_TIMEOUT_S

_PORT_MAX = 65_535
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Whose TLS certificates are accepted: those that the public authorities signed, unless this says otherwise."""

    ca: Path | str | None = None
    """PEM file with the certificates to trust instead: the authority's, or a server's own self-signed one."""
    insecure: bool = False
    """Accept any certificate: who is in between can read and change everything."""

    def verification(self) -> ssl.SSLContext | bool:
        """As httpx takes it. Raises ValueError, with a sentence, for a file that holds no certificates."""
        if self.insecure:
            return False
        if self.ca is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"{self.ca} holds no certificates in PEM format.") from error
        except TypeError:
            raise ValueError(f"{self.ca!r:.60} is no path of a file with certificates.") from None
        except OSError as error:
            raise ValueError(f"{self.ca} cannot be read: {error.strerror or error}.") from error


def server_url(text: str) -> str:
    """The URL without a slash at its end, scheme and host in small letters, so that a server has one address.

    Raises ValueError, with a sentence, for one that no server can have.
    """
    try:
        url = httpx.URL(text)
    except TypeError:
        raise ValueError(f"{text!r:.60} is no URL of a server, such as {DEFAULT_URL}: it must be a text.") from None
    except httpx.InvalidURL as error:
        raise ValueError(f"{text!r} is no URL: {error}.") from error
    if url.scheme not in {"http", "https"} or not url.host or any(map(str.isspace, text)):
        raise ValueError(f"{text!r} is no URL of a server, such as {DEFAULT_URL}.")
    if url.port is not None and not 0 < url.port <= _PORT_MAX:
        raise ValueError(f"{text!r} is no URL of a server: a port is a number from 1 to {_PORT_MAX}.")
    if (mark := next((character for character in text if character in "?#"), None)) is not None:
        raise ValueError(f"{text!r} is no URL of a server: leave out what begins with {mark}.")
    scheme, _, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{scheme.lower()}://{user}{at}{host.lower()}{slash}{path}".rstrip("/")


def new_client(url: str, trust: Trust) -> httpx.AsyncClient:
    """An HTTP client for the server at `url`. Raises ValueError as `Trust.verification` does."""
    return httpx.AsyncClient(
        base_url=url,
        verify=trust.verification(),
        timeout=INGEST_TIMEOUT_S,
        follow_redirects=False,
        trust_env=not _is_loopback(url),
    )


def new_blocking_client(url: str, trust: Trust, timeout_s: float) -> httpx.Client:
    """The same for a program without an event loop."""
    return httpx.Client(
        verify=trust.verification(), timeout=timeout_s, follow_redirects=False, trust_env=not _is_loopback(url)
    )


def _is_loopback(url: str) -> bool:
    """Whether a proxy of the environment cannot know the server: it is this machine's own."""
    return httpx.URL(url).host in _LOOPBACK

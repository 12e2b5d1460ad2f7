"""Why a server cannot be had: what went wrong in words, and what whoever typed its address can do about it.

httpx passes on little more than that a connection failed; the reason stands in the exceptions behind it (trio wraps a
failed TLS handshake in an error without a text, and refused connections in a group).
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

import httpx
import msgspec

from central_command.reaching.addresses import URL_VARIABLES

_TEXT_CHARS_MAX = 300
_NOT_YET, _EXPIRED = 9, 10
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_ANOTHER_NAME = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_NO_HTTP = "illegal "
"""How h11 begins to say that a first line or a header is none; what was only cut off, it says otherwise."""
_ENDED = frozenset({errno.ECONNRESET, errno.EPIPE})
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EADDRNOTAVAIL})


class Words(msgspec.Struct, frozen=True):
    """How whoever asks says where the server is, and which certificates to trust: parts of sentences."""

    named_by: str
    trusting: str
    anyway: str = ""
    """How a certificate is taken that is not to be trusted, behind a semicolon; nothing where there is no way."""


def on_command_line() -> Words:
    """The words of commands; of the variables the one that is set names the address, else the contract's own."""
    set_one = next((name for name in URL_VARIABLES if os.environ.get(name)), URL_VARIABLES[0])
    return Words(
        f"--url or {set_one}",
        "--ca FILE names the certificate to trust, and --insecure takes any",
        "; --insecure takes it all the same",
    )


class Undelivered(msgspec.Struct, frozen=True):
    """No answer of a server could be had: why, and what to do at the first contact; both are parts of a sentence.

    `permanent`: waiting will hardly mend it.
    """

    reason: str
    advice: str = msgspec.field(default_factory=lambda: f"{on_command_line().named_by} says where the server is")
    permanent: bool = False
    status: int | None = None
    """Of the answer, where one came."""
    retry_after_s: float | None = None
    """After how many seconds a server that asks for time may be asked again, where it says."""


def printable(text: str) -> str:
    """`text` from outside on one line, without control characters, at most 300 characters."""
    cleaned = "".join(character if character.isprintable() else " " for character in text[: _TEXT_CHARS_MAX + 1])
    return " ".join(cleaned.split())[:_TEXT_CHARS_MAX]


def undelivered(error: httpx.RequestError, url: httpx.URL, words: Words | None = None) -> Undelivered:
    """What is said of a request to `url` that got no answer, in the words of commands unless others are given."""
    words = words or on_command_line()
    place = _place(url)
    causes = list(_causes(error))
    text = printable(str(error)).rstrip(".") or type(error).__name__
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_message:
            return _untrusted(cause, place, words)
        if isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            advice = f"if the server speaks plain HTTP, write http:// in {words.named_by}"
            return Undelivered(f"what answers at {place} speaks no TLS", advice, permanent=True)
        if isinstance(cause, ssl.SSLError) and cause.reason:
            text = printable(f"TLS: {cause.reason.replace('_', ' ').lower()}")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return Undelivered("the server's certificate is not trusted", _trusting(place, words), permanent=True)
    if isinstance(error, httpx.ConnectError):
        return _unconnected(causes, text, place, url.host, words)
    if isinstance(error, httpx.RemoteProtocolError) and text.startswith(_NO_HTTP):
        tls = f"if it speaks TLS, write https:// in {words.named_by}; else write" if url.scheme == "http" else "write"
        return Undelivered(f"what answers at {place} speaks no HTTP", f"{tls} the server's address and port there")
    if url.scheme == "http" and (isinstance(error, httpx.RemoteProtocolError) or _is_reset(causes)):
        # One sentence for what comes as an end of the connection or as a reset of it, by chance.
        advice = f"if the server at {place} speaks TLS, write https:// in {words.named_by}"
        return Undelivered(f"the connection failed: {place} ended it without a whole answer", advice)
    return Undelivered(f"the connection failed: {text}", f"{words.named_by} says where the server is")


def nothing_here(url: httpx.URL, words: Words | None = None) -> str:
    """What to look at where a Central Command has no such endpoint: mostly a path in the server's address."""
    words = words or on_command_line()
    if url.path.strip("/"):
        return f"leave {printable(url.path.rstrip('/'))} out of {words.named_by}, unless a proxy wants it"
    return f"{words.named_by} may name a server of another version"


def stranger(status: int, location: str | None, url: httpx.URL, words: Words | None = None) -> Undelivered:
    """What is said of an answer that is none of a Central Command."""
    words = words or on_command_line()
    place = _place(url)
    reason = f"what answers at {place} is no Central Command (status {status})"
    if location is not None:
        reason = f"{reason} and points to {printable(location)}"
        advice = f"write the server's own address in {words.named_by}"
    elif status >= httpx.codes.INTERNAL_SERVER_ERROR:
        advice = f"see whether the server behind it is up, and whether {words.named_by} is right"
    else:
        tls = ", or https:// instead of http://" if url.scheme == "http" else ""
        advice = f"write the server's address and port{tls} in {words.named_by}"
    return Undelivered(reason, advice, status=status)


def _place(url: httpx.URL) -> str:
    """Scheme, host and port; a name and a password in the URL are nobody else's business."""
    return printable(f"{url.scheme}://{url.netloc.decode(errors='replace').rpartition('@')[2]}")


def _untrusted(error: ssl.SSLCertVerificationError, place: str, words: Words) -> Undelivered:
    reason = f"the server's certificate is not trusted ({printable(error.verify_message).rstrip('.')})"
    if error.verify_code == _EXPIRED:
        advice = f"it must be renewed at the server, if this machine's clock is right{words.anyway}"
        return Undelivered(reason, advice, permanent=True)
    if error.verify_code == _NOT_YET:
        return Undelivered(reason, f"look at this machine's clock, and at the server's{words.anyway}", permanent=True)
    if error.verify_code in _ANOTHER_NAME:
        advice = f"write the name that it was made for in {words.named_by}{words.anyway}"
        return Undelivered(reason, advice, permanent=True)
    return Undelivered(reason, _trusting(place, words), permanent=True)


def _trusting(place: str, words: Words) -> str:
    return f"if {place} is right, {words.trusting}"


def _unconnected(causes: list[BaseException], text: str, place: str, host: str, words: Words) -> Undelivered:
    errors = [cause for cause in causes if isinstance(cause, OSError)]
    numbers = {cause.errno for cause in errors}
    if any(isinstance(cause, socket.gaierror) for cause in errors):
        return Undelivered(
            f"the host {printable(host)} cannot be found", f"write its name as it is in {words.named_by}"
        )
    if errno.ECONNREFUSED in numbers:
        advice = f"start the server (`central-command serve`), or say where it is with {words.named_by}"
        return Undelivered(f"nothing listens at {place} (connection refused)", advice)
    if numbers & _NO_WAY:
        (said, *_) = (cause.strerror for cause in errors if cause.errno in _NO_WAY)
        return Undelivered(f"there is no way to {place} ({said})", f"{words.named_by} says where the server is")
    return Undelivered(f"the connection failed: {text}", f"{words.named_by} says where the server is")


def _is_reset(causes: list[BaseException]) -> bool:
    """Whether the other side ended the connection at once, as a server for TLS does to what it cannot read."""
    return any(isinstance(cause, OSError) and cause.errno in _ENDED for cause in causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what those groups hold."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions

"""A server that cannot be had: what is said of it, over real sockets, and how soon."""

import errno
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from central_command.client.contract.connection import Trust, new_client, server_url
from central_command.client.delivering.posting import Answer, Delivery
from central_command.reaching.unreachable import Undelivered, nothing_here, stranger, undelivered
from tests.central_command.http.connections.certificates import write_certificate

NAMED = "--url or GROOVE_CENTRAL_URL"
PUBLIC = Trust()
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"status":"ok"}'


@asynccontextmanager
async def listening(answer: bytes, certificate: tuple[str, str] | None = None) -> AsyncIterator[int]:
    """A server on a port of this machine that says `answer` to whatever comes, over TLS with a certificate."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            spoken: trio.abc.Stream = stream
            if certificate is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(*certificate)
                spoken = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            await spoken.receive_some(65_536)
            await spoken.send_all(answer)
            await spoken.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def greeting(url: str, trust: Trust = PUBLIC) -> Undelivered | None:
    """What comes of greeting the server at `url`."""
    async with new_client(url, trust) as client:
        return await Delivery(client).greet()


async def test_a_refused_connection_names_what_to_start_and_what_to_set() -> None:
    async with listening(ANSWER) as port:
        pass
    assert await greeting(f"http://127.0.0.1:{port}") == Undelivered(
        f"nothing listens at http://127.0.0.1:{port} (connection refused)",
        f"start the server (`central-command serve`), or say where it is with {NAMED}",
    )


@pytest.mark.parametrize(
    ("days", "host", "reason", "advice"),
    [
        (1, None, "self-signed certificate", "--ca FILE names the certificate to trust, and --insecure takes any"),
        (-1, None, "certificate has expired", "if this machine's clock is right; --insecure takes it all the same"),
        (1, "other.test", "IP address mismatch", f"write the name that it was made for in {NAMED}"),
    ],
)
async def test_a_certificate_that_is_not_trusted_is_said_with_its_reason(
    tmp_path: Path, days: float, host: str | None, reason: str, advice: str
) -> None:
    """And with what would have it taken, which it then is; no waiting would."""
    certificate = write_certificate(tmp_path, days=days, host=host)
    trust = Trust() if reason.startswith("self") else Trust(ca=Path(certificate[0]))
    async with listening(ANSWER, certificate) as port:
        url = f"https://127.0.0.1:{port}"
        found = await greeting(url, trust)
        assert found is not None
        assert found.reason.startswith(f"the server's certificate is not trusted ({reason}")
        assert advice in found.advice
        assert found.permanent
        assert await greeting(url, Trust(insecure=True)) is None
        if days > 0 and host is None:
            assert await greeting(url, Trust(ca=Path(certificate[0]))) is None


async def test_a_certificate_that_is_not_valid_yet_names_the_clocks(tmp_path: Path) -> None:
    """Naming it with --ca would not mend it."""
    certificate = write_certificate(tmp_path, days=9, begins_days=3)
    async with listening(ANSWER, certificate) as port:
        found = await greeting(f"https://127.0.0.1:{port}", Trust(ca=Path(certificate[0])))
    assert found == Undelivered(
        "the server's certificate is not trusted (certificate is not yet valid)",
        "look at this machine's clock, and at the server's; --insecure takes it all the same",
        permanent=True,
    )


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46" * 9, b"\x00\xff" * 99]
)
async def test_what_speaks_no_http_is_said_to(said: bytes) -> None:
    """A server of another kind, or one for TLS that says so in its own way."""
    async with listening(said) as port:
        found = await greeting(f"http://127.0.0.1:{port}")
    assert found == Undelivered(
        f"what answers at http://127.0.0.1:{port} speaks no HTTP",
        f"if it speaks TLS, write https:// in {NAMED}; else write the server's address and port there",
    )


async def test_https_where_plain_http_is_spoken_and_the_other_way_round(tmp_path: Path) -> None:
    """Either names the scheme to write."""
    async with listening(ANSWER) as port:
        found = await greeting(f"https://127.0.0.1:{port}", Trust(insecure=True))
        assert found is not None
        assert found.reason == f"what answers at https://127.0.0.1:{port} speaks no TLS"
        assert f"write http:// in {NAMED}" in found.advice
        assert found.permanent
    async with listening(ANSWER, write_certificate(tmp_path)) as port:
        found = await greeting(f"http://127.0.0.1:{port}")
        assert found is not None
        assert found.advice == f"if the server at http://127.0.0.1:{port} speaks TLS, write https:// in {NAMED}"


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE])
def test_a_connection_that_was_reset_names_the_scheme_to_write(number: int) -> None:
    """A server for TLS may answer plain HTTP by that alone; where TLS was spoken, it says nothing of the scheme."""
    error = httpx.ReadError("Ended.")
    error.__cause__ = trio.BrokenResourceError()
    error.__cause__.__cause__ = OSError(number, "ended")
    assert undelivered(error, httpx.URL("http://a.test:1")) == Undelivered(
        "the connection failed: http://a.test:1 ended it without a whole answer",
        f"if the server at http://a.test:1 speaks TLS, write https:// in {NAMED}",
    )
    assert undelivered(error, httpx.URL("https://a.test:1")) == Undelivered("the connection failed: Ended")


async def test_another_program_is_no_central_command() -> None:
    """Whatever it answers; the name and password in a URL are not repeated."""
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    async with listening(page) as port:
        found = await greeting(f"http://name:password@127.0.0.1:{port}")
    assert found is not None
    assert found.reason == f"what answers at http://127.0.0.1:{port} is no Central Command (status 200)"
    assert "port, or https:// instead of http://" in found.advice


@pytest.mark.parametrize(
    ("status", "location", "says"),
    [
        (301, "https://other.test/", "points to https://other.test/; write the server's own address in"),
        (404, None, "(status 404); write the server's address and port in --url"),
        (502, None, "(status 502); see whether the server behind it is up, and whether --url"),
    ],
)
def test_an_answer_of_another_program_says_what_to_look_at(status: int, location: str | None, says: str) -> None:
    found = stranger(status, location, httpx.URL("https://server.test"))
    assert says in f"{found.reason}; {found.advice}"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h:1/foo/", "leave /foo out of --url or GROOVE_CENTRAL_URL, unless a proxy wants it"),
        ("http://h:1", "--url or GROOVE_CENTRAL_URL may name a server of another version"),
    ],
)
def test_an_endpoint_that_is_not_there_names_the_path_of_the_address(url: str, says: str) -> None:
    assert nothing_here(httpx.URL(url)) == says


def test_the_variable_that_is_set_is_the_one_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CENTRAL_COMMAND_URL", "http://h:1")
    monkeypatch.delenv("GROOVE_CENTRAL_URL", raising=False)
    assert Undelivered("No").advice == "--url or CENTRAL_COMMAND_URL says where the server is"
    assert nothing_here(httpx.URL("http://h:1")).startswith("--url or CENTRAL_COMMAND_URL may")
    monkeypatch.setenv("GROOVE_CENTRAL_URL", "http://h:2")
    assert Undelivered("No").advice == "--url or GROOVE_CENTRAL_URL says where the server is"


@pytest.mark.parametrize(
    ("members", "is_known"),
    [({"error": "No."}, True), ({"accepted": False}, True), ({}, False), ({"message": "Not found"}, False)],
)
def test_answers_of_a_central_command_are_known_by_their_members(
    members: dict[str, object],
    is_known: bool,  # noqa: FBT001
) -> None:
    assert Answer(404, members).is_known is is_known


@pytest.mark.parametrize(
    "url",
    [
        "http://h:99999",
        "http://h:0",
        "http://h:x",
        "ftp://h",
        "localhost:8443",
        "http://",
        "http://h?a=b",
        "http://h/#a",
        "http://h x",
    ],
)
def test_a_url_that_no_server_has_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r" is no URL(:| of a server).*\.$"):
        server_url(url)


def test_a_url_loses_the_slash_at_its_end() -> None:
    assert server_url("https://h:1/base/") == "https://h:1/base"


def test_a_server_has_one_address_however_its_name_is_written() -> None:
    """What was sent to it is known by the address; a path and a password keep their letters."""
    assert server_url("HTTPS://Name:PassWord@Host.Example:8443/Base/") == "https://Name:PassWord@host.example:8443/Base"


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: path.write_text("no certificate"), "holds no certificates in PEM format."),
        (lambda path: None, "cannot be read: No such file or directory."),
    ],
)
def test_a_file_of_certificates_that_holds_none_is_said(
    tmp_path: Path, write: Callable[[Path], object], says: str
) -> None:
    write(tmp_path / "ca.pem")
    with pytest.raises(ValueError, match=says):
        Trust(ca=tmp_path / "ca.pem").verification()

"""Settings of the HTTP layer, each with its unit and its bounds; `config.toml` explains what each guards."""

import ipaddress
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from persistence.settings.bounds import PositiveInt, PositiveSeconds

Network = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")]


class HttpSettingsError(Exception):
    """Settings that are right each for itself do not work: together, or on this machine; the text is one sentence."""


class Side(StrEnum):
    """What is served on an address."""

    ALL = "all"
    PUBLIC = "public"
    """The contract's endpoints, and those that applications and contributors ask."""
    ADMINISTRATION = "administration"
    """What needs a token or a browser's session, but for the intake, which is the applications'."""


class CannotListenError(Exception):
    """The address of the settings cannot be listened on; the text is one sentence."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often one token may ask for the metrics, and how many kinds of refused requests they tell apart."""

    requests_per_minute: PositiveInt = 120
    requests_per_hour: PositiveInt = 7_200
    refused_kinds_max: PositiveInt = 32


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens, and the bounds of what clients may send, hold open and ask for."""

    host: Annotated[str, msgspec.Meta(min_length=1)] = "0.0.0.0"  # noqa: S104 the contract's service faces the network
    """The address to listen on; `127.0.0.1` when only a reverse proxy on the same machine may connect."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8443
    """The TCP port to listen on (contract, "Server Entry Point"); 0 lets the system choose one."""
    admin_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    """Another TCP port, for what needs a token or a browser's session alone; without it that is on `port`, too."""
    admin_host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    """The address to listen on at `admin_port`."""
    admin_connections_max: PositiveInt = 256
    """Open connections there, beside `connections_max`; one more is closed as soon as it is accepted."""
    tls_certificate: str | None = None
    """Path of a PEM file with the certificate and its chain; with `tls_key` it turns TLS on."""
    tls_key: str | None = None
    """Path of a PEM file with the certificate's private key, not encrypted."""
    http2: bool = False
    """Offer HTTP/2; off, every HTTP/2 connection is refused, and the server speaks HTTP/1.1 only."""

    connections_max: PositiveInt = 4_096
    """Open connections; one more is closed as soon as it is accepted. Guards file descriptors and memory."""
    backlog: PositiveInt = 1_024
    """Connections that the kernel holds until they are accepted; guards bursts of clients that start at once."""
    keep_alive_s: PositiveSeconds = 75.0
    """Seconds that a connection may be idle, or take to send a request's headers, before it is closed."""
    keep_alive_requests_max: PositiveInt = 1_000_000
    """Requests on one connection before it is closed."""
    read_timeout_s: PositiveSeconds = 120.0
    """Seconds without a byte from the client before its connection is dropped, also while it waits for an answer."""
    write_timeout_s: PositiveSeconds = 30.0
    """Seconds that a client may take to accept a piece of an answer; guards against clients that never read."""
    tls_handshake_timeout_s: PositiveSeconds = 10.0
    """Seconds that a TLS handshake may take."""
    headers_bytes_max: Annotated[int, msgspec.Meta(ge=1_024)] = 16_384
    """Bytes of a request's first line and headers together; more is answered with 431."""
    graceful_timeout_s: PositiveSeconds = 3.0
    """Seconds that requests under way may take to end at shutdown; the whole shutdown has 5."""

    body_bytes_max: PositiveInt = 5_242_880
    """Bytes of one request's body (contract, "5mb"); more is answered with 413."""
    body_bytes_hard_max: PositiveInt = 33_554_432
    """Bytes of one envelope's body from a session that is open (decisions, "Schema"): 413."""
    large_bodies_max: PositiveInt = 4
    """Bodies over `body_bytes_max` held in memory at once; one more is refused with 503."""
    batch_lines_max: PositiveInt = 64
    """Envelopes in one batch; `body_bytes_max` bounds their bytes. More is answered with 400."""
    body_timeout_s: PositiveSeconds = 30.0
    """Seconds that a body may take to arrive; more is answered with 408."""
    bodies_bytes_max: PositiveInt = 268_435_456
    """Bytes of all bodies held in memory at once, until nothing of them waits any more; past it 503."""
    share_per_address: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.25
    """Share of what others leave free (connections, requests, bodies, large bodies) that one address may hold."""
    requests_in_flight_max: PositiveInt = 1_024
    """Requests handled at once; one more is answered with 503."""
    linger_s: PositiveSeconds = 2.0
    """Seconds to go on reading a body after it was refused, and a connection after its last answer.

    So the client gets to see the answer, which a reset of the connection could take from it.
    """
    linger_bytes_max: PositiveInt = 8_388_608
    """Bytes to go on reading then."""
    half_closed_s: PositiveSeconds = 2.0
    """Seconds that a client which has ended its side is still answered; past them it counts as gone."""

    limits_enabled: bool = True
    """Whether requests are limited by address; off only for load tests."""
    requests_per_minute: PositiveInt = 100
    """Requests of one address at once, all of which come back in a minute, without `/v1/embed` (contract, "Per-IP")."""
    requests_per_hour: PositiveInt = 1_000
    """The same in an hour (contract, "Per-IP"). In both, accepted envelopes are given back."""
    session_requests_per_hour: PositiveInt = 64
    """Requests of a session that was opened or accepted on an address, before they count for all on that address."""
    known_sessions_max: PositiveInt = 100_000
    """Sessions with such a budget; past it the one not heard of for longest is forgotten."""
    browser_requests_per_minute: PositiveInt = 100
    """Requests of a browser that has shown on an address that it is signed in, once that address has none left."""
    known_browsers_max: PositiveInt = 2_000
    """Browsers with such a budget, by address; past it the one not heard of for longest is forgotten."""
    embed_requests_per_minute: PositiveInt = 1_000
    """Requests of one address to `/v1/embed` at once, and in a minute: one client's start alone takes 46."""
    embed_requests_per_hour: PositiveInt = 10_000
    """Requests of one address to `/v1/embed` in an hour."""
    addresses_max: PositiveInt = 100_000
    """Addresses counted at once, for each of the two budgets; past it the one not seen for longest is forgotten."""
    trusted_proxies: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    """Networks (CIDR) of reverse proxies whose `X-Forwarded-For` is believed."""

    retry_after_s: PositiveInt = 5
    """Seconds that a 503 tells the client to wait (`Retry-After`)."""
    envelope_limit_retry_after_s: PositiveInt = 3_600
    """Seconds that the 429 of a full session tells the client to wait; it will not help that session."""
    preflight_max_age_s: PositiveInt = 86_400
    """Seconds that a browser may remember the answer to a CORS preflight."""
    daily_days_default: PositiveInt = 7
    """Days that `/v1/stats/daily` reports without `days`."""
    daily_days_max: PositiveInt = 365
    """The most days that `days` may ask for."""
    leaderboard_limit_default: PositiveInt = 10
    """Contributors that `/v1/stats/leaderboard` reports without `limit`."""
    leaderboard_limit_max: PositiveInt = 100
    """The most contributors that `limit` may ask for."""
    embed_timeout_s: PositiveSeconds = 10.0
    """Seconds that a client waits for an embedding (contract, "POST /v1/embed"); what takes longer is not computed."""
    embed_probe_timeout_s: PositiveSeconds = 5.0
    """The same for the text that clients ask for to see whether there are embeddings (contract, "Health probe")."""
    embeddings_timeout_s: PositiveSeconds = 100.0
    """The same on `/v1/embeddings`, whose clients wait for minutes and send up to 2,048 texts."""
    embed_input_chars_max: PositiveInt = 512
    """Characters of `input` that `/v1/embed` takes; the rest is cut off (contract, "POST /v1/embed")."""

    @property
    def browsers_url(self) -> str:
        """Where a browser on this machine reaches the server, when nothing stands in front of it."""
        there = self.of_administration or self
        scheme = "http" if self.tls_certificate is None else "https"
        host = "localhost" if there.host in {"0.0.0.0", "::"} else there.host  # noqa: S104 (compared, not listened on)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{there.port}"

    @property
    def of_administration(self) -> "HttpSettings | None":
        """The settings of the address for administration: the same but for where it is; None where there is none."""
        if self.admin_port is None:
            return None
        return msgspec.structs.replace(
            self, host=self.admin_host, port=self.admin_port, connections_max=self.admin_connections_max
        )


def own_machine_url(url: str) -> str | None:
    """Where a browser on this machine reaches a server that listens at this URL, of an IP address.

    None where it listens on an address of a network alone: then nobody can know whose name leads there.
    """
    parts = urlsplit(url)
    address = ipaddress.ip_address(parts.hostname or "")
    if address.is_unspecified:
        return parts._replace(netloc=f"localhost:{parts.port}").geturl()
    return url if address.is_loopback else None


def link_url(base: str, code: str) -> str:
    """The address of a link to sign in with, on a server that is reached at `base`."""
    return f"{base.rstrip('/')}/sign-in/link?code={code}"

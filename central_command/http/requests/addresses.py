"""Whose request it is: the address that limits are counted by, behind any number of trusted proxies.

Every proxy appends the address of whoever connected to it to `X-Forwarded-For`, so only the right end of that list is
known to be true, as far as the addresses on the way are proxies that we trust. What stands further left was sent by the
client and may say anything (decisions, "Addresses and limits").
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache, partial
from socket import AF_INET, inet_ntoa, inet_pton

import msgspec
from hypercorn.typing import HTTPScope

from central_command.http.requests.networks import Address, Network, parse_networks
from central_command.http.settings import HttpSettings

_IPV4 = 4
_IPV4_BYTES = 4
_IPV6_HOST_BITS = 64  # one subscriber has at least a /64, so a longer prefix would count one client as many
_PEERS_REMEMBERED_MAX = 4_096
_FORWARDED_REMEMBERED_BYTES_MAX = 64  # an address or two; of what is longer, nothing is remembered


class Peer(msgspec.Struct, frozen=True):
    """Who connected: the key to count it by, and whether it is a trusted proxy, whose requests are those of many."""

    key: str
    is_proxy: bool


class Front(msgspec.Struct, frozen=True):
    """How a browser names this server: over TLS or not, and the names (with ports) that it may have asked for."""

    is_secure: bool
    hosts: tuple[str, ...]

    @property
    def origins(self) -> tuple[str, ...]:
        """Our own origins, as browsers write them in `Origin`."""
        return tuple(f"{'https' if self.is_secure else 'http'}://{host}" for host in self.hosts)


class ClientKeys:
    """Finds whose request it is; raises HttpSettingsError when `trusted_proxies` holds something that is no network.

    A key is an IPv4 address, or the /64 of an IPv6 address.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.reconfigure(settings)

    def reconfigure(self, settings: HttpSettings) -> None:
        """Believe other proxies from now on; connections that are open stay counted as they are."""
        trusted = parse_networks(settings.trusted_proxies)
        self._trusted = trusted
        self._peer = lru_cache(_PEERS_REMEMBERED_MAX)(partial(_peer, trusted=trusted))
        self._vouched_for = lru_cache(_PEERS_REMEMBERED_MAX)(partial(_vouched_for, trusted=trusted))

    def of(self, scope: HTTPScope) -> str:
        """The key to count a request by."""
        client = scope.get("client")
        peer = self._peer(client[0] if client else "")
        if not peer.is_proxy:
            return peer.key
        forwarded = b",".join([value for name, value in scope["headers"] if name == b"x-forwarded-for"])
        if not forwarded:
            return peer.key
        if len(forwarded) <= _FORWARDED_REMEMBERED_BYTES_MAX:
            return self._vouched_for(forwarded) or peer.key
        return _vouched_for(forwarded, self._trusted) or peer.key

    def front(self, scope: HTTPScope) -> Front:
        """How the browser that sends a request names this server, behind trusted proxies, too.

        These say so in `X-Forwarded-Proto` and `X-Forwarded-Host`; of several values the last is the nearest proxy's.
        """
        client = scope.get("client")
        is_proxied = self._peer(client[0] if client else "").is_proxy
        hosts = [_last(scope, b"host"), _last(scope, b"x-forwarded-host") if is_proxied else ""]
        scheme = _last(scope, b"x-forwarded-proto") if is_proxied else ""
        is_secure = (scheme or scope["scheme"]) == "https"
        return Front(is_secure, tuple(host for host in hosts if host))

    def of_stranger(self, peer: str) -> str | None:
        """The key of whoever connected; None for a trusted proxy, whose connections are those of many."""
        found = self._peer(peer)
        return None if found.is_proxy else found.key


def _last(scope: HTTPScope, name: bytes) -> str:
    """The last value of a header, in small letters; empty where there is none."""
    values = b",".join([value for found, value in scope["headers"] if found == name])
    return values.rpartition(b",")[2].strip().decode("latin-1").lower()


def _peer(text: str, *, trusted: Sequence[Network]) -> Peer:
    address = _parse(text)
    if address is None:
        return Peer("unknown", is_proxy=False)
    return Peer(_key(address), _is_trusted(address, trusted))


def _vouched_for(forwarded: bytes, trusted: Sequence[Network]) -> str | None:
    """The right-most address that is no trusted proxy, in the values of all `X-Forwarded-For` lines in their order.

    An entry that is no address ends the search, because what stands left of it was not vouched for by anyone.
    """
    for entry in reversed(forwarded.decode("latin-1").split(",")):
        address = _parse(entry)
        if address is None:
            return None
        if not _is_trusted(address, trusted):
            return _key(address)
    return None


def _parse(text: str) -> Address | None:
    """An address as proxies write it: bare, or with a port (`192.0.2.1:80`, `[2001:db8::1]:80`)."""
    text = text.strip()
    try:
        # Most are IPv4 alone, which this reads in a tenth of the time and no other text.
        return Address(_IPV4, int.from_bytes(inet_pton(AF_INET, text), "big"))
    except (OSError, ValueError):
        pass
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Address(address.version, int(address))


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    for network in trusted:  # without a generator, which would take longer than the comparison
        if network.version == address.version and address.number & network.mask == network.number:
            return True
    return False


def _key(address: Address) -> str:
    if address.version == _IPV4:
        return inet_ntoa(address.number.to_bytes(_IPV4_BYTES, "big"))
    prefix = address.number >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
    return f"{ipaddress.IPv6Address(prefix)}/64"

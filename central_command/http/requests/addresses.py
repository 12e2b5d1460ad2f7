"""Whose request it is: the address that limits are counted by, behind any number of trusted proxies.

Every proxy appends the address of whoever connected to it to `X-Forwarded-For`, so only the right end of that list is
known to be true, as far as the addresses on the way are proxies that we trust. What stands further left was sent by the
client and may say anything (decisions, "Addresses and limits").
"""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from socket import AF_INET, inet_ntop, inet_pton
from typing import TYPE_CHECKING

from central_command.http.settings import HttpSettings, HttpSettingsError

if TYPE_CHECKING:
    from hypercorn.typing import HTTPScope  # which comes with an extra, and `config check` needs none

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_HOST_BITS = 64  # one subscriber has at least a /64, so a longer prefix would count one client as many
_FORWARDED = b"x-forwarded-for"
_KEYS_REMEMBERED_MAX = 4_096
_FORWARDED_CHARS_REMEMBERED_MAX = 128


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of `trusted_proxies`; raises HttpSettingsError for the first that is none."""
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise HttpSettingsError(f"http.trusted_proxies holds {text!r}, which is no network (CIDR).") from error
    return tuple(networks)


class ClientKeys:
    """Finds whose request it is; raises HttpSettingsError when `trusted_proxies` holds something that is no network.

    What was found is remembered, because reading addresses takes longer than everything else that is counted by them.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.reconfigure(settings)

    def reconfigure(self, settings: HttpSettings) -> None:
        """Believe other proxies from now on; connections that are open stay counted as they are."""
        self._trusted = parse_networks(settings.trusted_proxies)
        self._trusted_ipv4 = [
            (int(network.netmask), int(network.network_address)) for network in self._trusted if network.version == 4
        ]
        self._remembered = lru_cache(_KEYS_REMEMBERED_MAX)(self._key_of)
        self._is_proxy = lru_cache(_KEYS_REMEMBERED_MAX)(self._is_trusted_peer)

    def of(self, scope: "HTTPScope") -> str:
        """The key to count a request by (`client_key`)."""
        peer = scope.get("client")
        forwarded = ""
        for name, value in scope["headers"]:
            if name == _FORWARDED:
                forwarded = f"{forwarded},{value.decode('latin-1')}" if forwarded else value.decode("latin-1")
        find = self._remembered if len(forwarded) <= _FORWARDED_CHARS_REMEMBERED_MAX else self._key_of
        return find(peer[0] if peer else None, forwarded)

    def of_stranger(self, peer: str) -> str | None:
        """The key of whoever connected; None for a trusted proxy, whose connections are those of many."""
        return None if self._is_proxy(peer) else self._remembered(peer, "")

    def _is_trusted_peer(self, peer: str) -> bool:
        address = _parse(peer)
        return address is not None and _is_trusted(address, self._trusted)

    def _key_of(self, peer: str | None, forwarded: str) -> str:
        if peer is not None and self._is_proxy(peer):
            # One proxy and a bare IPv4 address are the usual case: read in a fifth of the time.
            last = forwarded.rpartition(",")[2].strip()
            if self._is_strangers_ipv4(last):
                return last
        return client_key(peer, [forwarded], self._trusted)

    def _is_strangers_ipv4(self, text: str) -> bool:
        """Whether a text is an IPv4 address as it is always written, and no trusted proxy's."""
        try:
            packed = inet_pton(AF_INET, text)
        except (OSError, ValueError):
            return False
        number = int.from_bytes(packed, "big")
        for mask, network in self._trusted_ipv4:
            if number & mask == network:
                return False
        return inet_ntop(AF_INET, packed) == text


def client_key(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The key to count a request by: an IPv4 address, or the /64 of an IPv6 address.

    `peer` is who connected, `forwarded` are the values of all `X-Forwarded-For` lines in their order. An entry that is
    no address ends the search, because what stands left of it was not vouched for by anyone.
    """
    address = _parse(peer or "")
    if address is None:
        return "unknown"
    if not _is_trusted(address, trusted):
        return _key(address)
    for entry in reversed(",".join(forwarded).split(",")):
        candidate = _parse(entry)
        if candidate is None:
            break
        if not _is_trusted(candidate, trusted):
            return _key(candidate)
    return _key(address)


def _parse(text: str) -> Address | None:
    """An address as proxies write it: bare, or with a port (`192.0.2.1:80`, `[2001:db8::1]:80`)."""
    text = text.strip()
    try:
        # Most are IPv4 alone, which this reads in a tenth of the time and no other text.
        return ipaddress.IPv4Address(inet_pton(AF_INET, text))
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
        return address.ipv4_mapped
    return address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _key(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    prefix = int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
    return f"{ipaddress.IPv6Address(prefix)}/64"

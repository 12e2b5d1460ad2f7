"""Whose request it is: the address that limits are counted by, behind any number of trusted proxies.

Every proxy appends the address of whoever connected to it to `X-Forwarded-For`, so only the right end of that list is
known to be true, as far as the addresses on the way are proxies that we trust. What stands further left was sent by the
client and may say anything (decisions, "Addresses and limits").
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from socket import AF_INET, inet_ntoa, inet_pton

from hypercorn.typing import HTTPScope

from central_command.http.requests.direct import header_values
from central_command.http.requests.networks import Address, Network, parse_networks
from central_command.http.settings import HttpSettings

_IPV4 = 4
_IPV4_BYTES = 4
_IPV6_HOST_BITS = 64  # one subscriber has at least a /64, so a longer prefix would count one client as many
_KEYS_REMEMBERED_MAX = 4_096
_FORWARDED_CHARS_REMEMBERED_MAX = 128


class ClientKeys:
    """Finds whose request it is; raises HttpSettingsError when `trusted_proxies` holds something that is no network.

    What was found is remembered, because reading addresses takes longer than everything else that is counted by them.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.reconfigure(settings)

    def reconfigure(self, settings: HttpSettings) -> None:
        """Believe other proxies from now on; connections that are open stay counted as they are."""
        self._trusted = parse_networks(settings.trusted_proxies)
        self._remembered = lru_cache(_KEYS_REMEMBERED_MAX)(self._key_of)
        self._is_proxy = lru_cache(_KEYS_REMEMBERED_MAX)(self._is_trusted_peer)

    def of(self, scope: HTTPScope) -> str:
        """The key to count a request by (`client_key`)."""
        peer = scope.get("client")
        forwarded = ",".join(header_values(scope, b"x-forwarded-for"))
        find = self._remembered if len(forwarded) <= _FORWARDED_CHARS_REMEMBERED_MAX else self._key_of
        return find(peer[0] if peer else None, forwarded)

    def of_stranger(self, peer: str) -> str | None:
        """The key of whoever connected; None for a trusted proxy, whose connections are those of many."""
        return None if self._is_proxy(peer) else self._remembered(peer, "")

    def _is_trusted_peer(self, peer: str) -> bool:
        address = _parse(peer)
        return address is not None and _is_trusted(address, self._trusted)

    def _key_of(self, peer: str | None, forwarded: str) -> str:
        return client_key(peer, [forwarded], self._trusted)


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
    version, number = address
    return any(network.version == version and number & network.mask == network.number for network in trusted)


def _key(address: Address) -> str:
    if address.version == _IPV4:
        return inet_ntoa(address.number.to_bytes(_IPV4_BYTES, "big"))
    prefix = address.number >> _IPV6_HOST_BITS << _IPV6_HOST_BITS
    return f"{ipaddress.IPv6Address(prefix)}/64"

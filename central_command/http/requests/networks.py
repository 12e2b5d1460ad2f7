"""Addresses and networks as numbers, which are compared for every request. Needs nothing of a server."""

import ipaddress
from collections.abc import Iterable

import msgspec

from central_command.http.settings import HttpSettingsError


class Address(msgspec.Struct, frozen=True):
    """An IP address: 4 or 6, and its bits as a number."""

    version: int
    number: int


class Network(msgspec.Struct, frozen=True):
    """A network: an address is in it when it is of its version, and under `mask` is `number`."""

    version: int
    mask: int
    number: int


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of `trusted_proxies`; raises HttpSettingsError for the first that is none."""
    networks: list[Network] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise HttpSettingsError(f"http.trusted_proxies holds {text!r}, which is no network (CIDR).") from error
        networks.append(Network(network.version, int(network.netmask), int(network.network_address)))
    return tuple(networks)

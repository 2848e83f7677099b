"""Is an address in one of these networks? At a cost that does not grow with their number."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

IpAddress: TypeAlias = IPv4Address | IPv6Address


def parse_client(text: str) -> IpAddress:
    """The address that `from` is about: no zone id, and IPv4 where a dual-stack socket says `::ffff:…`.

    Raises ValueError.
    """
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def plain_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """The network as clients' addresses are seen: one inside `::ffff:0:0/96` is IPv4."""
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ip_network((int(mapped), network.prefixlen - 96))
    return network


class NetworkSet:
    """Networks by their prefix length: 33 look-ups at most for IPv4, 129 for IPv6, however many."""

    __slots__ = ("_by_length", "networks")

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self.networks = tuple(networks)
        by_length: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
        for network in map(plain_network, self.networks):
            shift = network.max_prefixlen - network.prefixlen
            by_length[network.version].setdefault(shift, set()).add(int(network.network_address) >> shift)
        self._by_length = {version: tuple(lengths.items()) for version, lengths in by_length.items()}

    def __contains__(self, address: IpAddress) -> bool:
        value = int(address)
        return any(value >> shift in prefixes for shift, prefixes in self._by_length[address.version])

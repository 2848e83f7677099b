from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from spyhole.routing.networks import NetworkSet, parse_client

v4 = st.builds(
    lambda address, length: IPv4Network((address, length), strict=False),
    st.ip_addresses(v=4),
    st.integers(0, 32),
)
v6 = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False),
    st.ip_addresses(v=6),
    st.integers(0, 95),
)


@given(st.lists(v4 | v6, max_size=8), st.data())
def test_a_set_holds_what_one_of_its_networks_holds(
    networks: list[IPv4Network | IPv6Network], data: st.DataObject
) -> None:
    address = data.draw(st.ip_addresses())
    if data.draw(st.booleans()) and networks:
        network = data.draw(st.sampled_from(networks))
        address = network.network_address + data.draw(st.integers(0, int(network.hostmask)))
    assert (address in NetworkSet(networks)) == any(address in network for network in networks)


@given(st.ip_addresses(v=4))
def test_ipv4_on_a_dual_stack_socket_is_ipv4(address: IPv4Address) -> None:
    assert parse_client(f"::ffff:{address}") == address
    assert parse_client(str(address)) in NetworkSet([ip_network(f"::ffff:{address}/128")])
    assert parse_client(str(address)) not in NetworkSet([ip_network("::/0")])


def test_a_zone_id_does_not_count() -> None:
    assert parse_client("fe80::1%eth0") == IPv6Address("fe80::1")

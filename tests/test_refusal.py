"""Why a client is refused, for the log: with the one condition that kept it out."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from spyhole import refusal
from spyhole.outcome import Reason
from spyhole.routing.host_names import InvalidServerName, parse_server_name
from spyhole.routing.patterns import NamePattern
from spyhole.routing.route import Mode, Route
from spyhole.routing.table import RouteTable
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import ClientHelloError, ClientHelloParser
from support.hellos import hello, records

TABLE = RouteTable(
    [
        Route("web", sni=(NamePattern.parse("a.test"),), alpn=("h2",), upstream="u"),
        Route("in", sni=(NamePattern.parse("*.test"),), networks=(ip_network("10.0.0.0/8"),), upstream="u"),
        Route("re", sni_regex=("x.*",), listeners=("admin",), upstream="u"),
        Route("two", sni=(NamePattern.parse("two.org"),), alpn=("h2",), listeners=("admin",), upstream="u"),
        Route("one", sni=(NamePattern.parse("two.org"),), alpn=("h2",), listeners=("web",), upstream="u"),
        Route("old", sni=(NamePattern.parse("old.org"),), mode=Mode.REJECT),
        Route("raw", tls=False, listeners=("admin",), upstream="u"),
    ]
)


OFFERS_NONE = 'alpn: the client offers none; the route asks for h2; add "" to take clients that offer none'


def refused(name: str | None, *alpn: bytes, tls: bool = True, listener: str = "web") -> refusal.Refusal:
    decision = TABLE.match(name, alpn, "192.0.2.1", listener, tls=tls)
    told = refusal.of_decision(decision, alpn, "192.0.2.1", listener)
    assert told.reason is decision.refusal
    return told


def detail(name: str | None, *alpn: bytes, tls: bool = True) -> str:
    return refused(name, *alpn, tls=tls).detail


@pytest.mark.parametrize(
    ("name", "rule", "why"),
    [
        ("a.test", "sni 'a.test' of route 'web'", OFFERS_NONE),
        ("b.test", "sni '*.test' of route 'in'", "from: 192.0.2.1 is not in 10.0.0.0/8"),
        ("xyz.org", "sni_regex 'x.*' of route 're'", "listener: 'web' is not 'admin'"),
    ],
)
def test_what_kept_it_out(name: str, rule: str, why: str) -> None:
    assert detail(name) == f"no route takes {name!r}; {rule} would, but for {why}"


def test_a_name_that_nobody_knows_and_one_that_is_rejected() -> None:
    assert detail("c.org") == "no route takes 'c.org'"
    assert detail(None) == "it sends no server name, and no route for '*' takes it"
    assert detail("old.org") == "sni 'old.org' of route 'old'"


def test_the_alert_for_want_of_a_protocol_only() -> None:
    """RFC 7301, 3.2: the server has no protocol that the client advertises."""
    assert refused("a.test", b"h3").alert is Alert.NO_APPLICATION_PROTOCOL
    assert refused("a.test").alert is Alert.UNRECOGNIZED_NAME
    assert refused("b.test", b"h3").alert is Alert.UNRECOGNIZED_NAME
    assert refused("c.org", b"h3").alert is Alert.UNRECOGNIZED_NAME
    assert refused("old.org", b"h3").alert is Alert.UNRECOGNIZED_NAME
    assert refused("two.org", b"h3", listener="other").alert is Alert.UNRECOGNIZED_NAME


def test_a_route_of_another_listener_is_farther_than_one_of_this() -> None:
    told = refused("two.org", b"h3")
    assert "of route 'one' would, but for alpn" in told.detail
    assert told.alert is Alert.NO_APPLICATION_PROTOCOL


def test_not_tls() -> None:
    assert refused(None, tls=False).alert is None
    assert detail(None, tls=False) == (
        "it is not TLS, and no route with `tls = false` takes it; "
        "tls = false of route 'raw' would, but for listener: 'web' is not 'admin'"
    )


def test_what_a_peer_offers_does_not_fill_the_log() -> None:
    said = detail("a.test", *(b"%d" % number for number in range(1000)))
    assert "offers 0, 1, 2, 3, 4, 5, 6, 7, 992 more; the route" in said


def test_hellos() -> None:
    with pytest.raises(InvalidServerName) as name:
        parse_server_name(b"a\nb")
    assert refusal.of_hello(name.value) == (
        *(Reason.INVALID_SERVER_NAME, name.value.problem, Alert.UNRECOGNIZED_NAME),
    )
    with pytest.raises(ClientHelloError) as large:
        ClientHelloParser(max_size=32).feed(records(hello()))
    told = refusal.of_hello(large.value)
    assert (told.reason, told.alert) == (Reason.HELLO_TOO_LARGE, Alert.ILLEGAL_PARAMETER)
    with pytest.raises(ClientHelloError) as malformed:
        ClientHelloParser().feed(records(hello(ciphers=b"")))
    told = refusal.of_hello(malformed.value)
    assert (told.reason, told.alert) == (Reason.MALFORMED_HELLO, malformed.value.alert)
    assert told.detail.startswith("no_ciphers: ")

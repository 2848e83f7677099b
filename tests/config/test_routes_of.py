"""What routing gets is what the configuration says."""

from __future__ import annotations

from ipaddress import ip_network

from spyhole.config.model import Config
from spyhole.config.routes import routes_of, upstreams_of
from spyhole.routing.patterns import NamePattern
from spyhole.routing.route import Mode, Route
from spyhole.upstreams.address import TcpAddress, UnixAddress

CONFIG = Config.model_validate(
    {
        "listeners": [{"bind": "*:443", "name": "l"}],
        "routes": [
            {
                "name": "first",
                "sni": ["a.test", "*.b.test"],
                "sni_regex": "c",
                "alpn": "h2",
                "from": "10.0.0.0/8",
                "listener": "l",
                "mode": "terminate",
                "upstream": "web",
                "min_version": "1.3",
            },
            {"tls": False, "upstream": "unix:/x"},
            {"sni": "*", "mode": "reject"},
            {"sni": "d.test", "upstream": "[0::1]:443"},
            {"sni": "e.test", "upstream": "[::1]:443"},
        ],
        "upstreams": {"web": {"servers": ["a:1", "b:2"]}, "idle": {"servers": "c:3"}},
        "certificates": [{"cert": "c", "key": "k"}],
    }
)


def test_routes() -> None:
    routes = routes_of(CONFIG)
    assert routes[0] == Route(
        name="first",
        sni=(NamePattern.parse("a.test"), NamePattern.parse("*.b.test")),
        sni_regex=("c",),
        alpn=("h2",),
        networks=(ip_network("10.0.0.0/8"),),
        listeners=("l",),
        tls=True,
        mode=Mode.TERMINATE,
        upstream="web",
        min_version="1.3",
    )
    assert routes[1] == Route(name="routes[2]", tls=False, upstream="unix:/x")
    assert routes[2] == Route(name="routes[3]", sni=(NamePattern.parse("*"),), mode=Mode.REJECT)
    assert [route.upstream for route in routes[3:]] == ["[::1]:443", "[::1]:443"]


def test_upstreams() -> None:
    servers = {name: upstream.servers for name, upstream in upstreams_of(CONFIG).items()}
    assert servers == {
        "web": (TcpAddress("a", 1), TcpAddress("b", 2)),
        "idle": (TcpAddress("c", 3),),
        "unix:/x": (UnixAddress("/x"),),
        "[::1]:443": (TcpAddress("::1", 443),),
    }

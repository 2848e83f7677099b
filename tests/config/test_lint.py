"""Warnings about what can hardly be meant, and none about what can."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import Any

import pytest

from spyhole.config.lint import Machine, lint
from spyhole.config.model import Config
from spyhole.config.positions import Path as Place
from spyhole.config.problems import Severity

ROOT = Machine(lowest_port=0, is_root=True)
USER = Machine(lowest_port=1024, is_root=False)


def found(machine: Machine = ROOT, **document: Any) -> dict[Place, str]:
    base: dict[str, Any] = {
        "listeners": [{"bind": "*:443"}],
        "routes": [{"sni": "a.test", "upstream": "a:1"}],
    }
    findings = lint(Config.model_validate({**base, **document}), machine)
    assert all(finding.severity is Severity.WARNING for finding in findings)
    assert len({finding.path for finding in findings}) == len(findings)
    return {finding.path: finding.code for finding in findings}


def route(**keys: Any) -> dict[str, Any]:
    return {"upstream": "a:1", **keys}


def test_nothing_to_say() -> None:
    assert found() == {}


def test_a_route_behind_a_wider_one() -> None:
    routes = [route(sni=["a.test", "b.test"]), route(sni="*"), route(sni="b.test", alpn="h2"), route()]
    assert found(routes=routes) == {
        ("routes", 2): "route-never-chosen",
        ("routes", 3): "route-never-chosen",
    }


def test_one_name_behind_a_wider_one() -> None:
    routes = [
        route(sni="a.test"),
        route(sni=["b.test", "A.test"], sni_regex=["c", "d"]),
        route(sni_regex="d"),
    ]
    assert found(routes=routes) == {
        ("routes", 1, "sni", 1): "name-never-chosen",
        ("routes", 2): "route-never-chosen",
    }
    routes = [route(sni_regex="d"), route(sni="b.test", sni_regex=["c", "d"])]
    assert found(routes=routes) == {("routes", 1, "sni_regex", 1): "name-never-chosen"}


def test_an_upstream_that_no_route_uses() -> None:
    upstreams = {"a": {"servers": "a:1"}, "b": {"servers": "b:1"}}
    assert found(upstreams=upstreams, routes=[{"upstream": "b"}]) == {("upstreams", "a"): "unused-upstream"}


@pytest.mark.parametrize(
    ("bind", "warned"),
    [("*:443", True), ("*:1023", True), ("*:1024", False), ("*:0", False), ("unix:/x", False)],
)
def test_ports_that_take_a_right(bind: str, warned: bool) -> None:
    listeners = [{"bind": ["*:8443", bind]}]
    expected: dict[Place, str] = {("listeners", 0, "bind", 1): "low-port"} if warned else {}
    assert found(USER, listeners=listeners) == expected
    assert found(ROOT, listeners=listeners) == {}


def test_users() -> None:
    here = pwd.getpwuid(0).pw_name
    assert found(ROOT, user=here) == {}
    assert found(ROOT, user="nobody-of-that-name") == {("user",): "unknown-user"}
    assert found(USER, user=here, listeners=[{"bind": "*:8443"}]) == {("user",): "not-root"}


def test_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    key = tmp_path / "k.pem"
    key.touch()
    certificates = [{"cert": "c.pem", "key": str(key)}, {"cert": "c.pem", "key": "none.pem"}]
    key.chmod(0o640)
    assert found(certificates=certificates) == {}
    key.chmod(0o604)
    assert found(certificates=certificates) == {("certificates", 0, "key"): "readable-key"}


def test_this_machine_is_known() -> None:
    assert 0 <= Machine.here().lowest_port <= 65_536

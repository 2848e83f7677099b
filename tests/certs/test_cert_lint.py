"""What `spyhole check` says about certificates."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from spyhole.certs.lint import lint
from spyhole.config.loader import load
from spyhole.config.problems import Severity
from support.certificates import Authority, Leaf

NOW = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
"""A day after the certificates of the tests begin; they end a month later."""


def found(
    tmp_path: Path, routes: str, *leaves: Leaf, default: int | None = None, now: datetime.datetime = NOW
) -> list[tuple[str, tuple[str | int, ...]]]:
    """The code and path of each finding, for terminate routes with these `sni` values."""
    text = '[[listeners]]\nbind = "127.0.0.1:0"\n'
    for sni in routes.split(";"):
        text += '[[routes]]\nmode = "terminate"\nupstream = "127.0.0.1:1"\n' + (sni and f"sni = [{sni}]\n")
    for index, leaf in enumerate(leaves):
        text += f'[[certificates]]\ncert = "{leaf.cert}"\nkey = "{leaf.key}"\n'
        text += f"default = {str(index == default).lower()}\n"
    file = tmp_path / "spyhole.toml"
    file.write_text(text)
    return [(finding.code, finding.path) for finding in lint(load(file), now)]


def test_nothing_is_wrong(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("www.test", "*.shop.test", "apps.test")
    assert found(tmp_path, "'www.test', '*.shop.test', 'a.shop.test', '**.shop.test'", leaf) == []
    assert found(tmp_path, "", leaf) == []


@pytest.mark.parametrize(
    ("sni", "names"),
    [
        ("api.test", ["www.test"]),
        ("a.b.shop.test", ["*.shop.test"]),
        ("shop.test", ["*.shop.test"]),
        ("*.shop.test", ["a.shop.test"]),
        ("*.b.shop.test", ["*.shop.test"]),
        ("**.apps.test", ["apps.test", "*.test"]),
    ],
)
def test_a_name_that_no_certificate_covers(
    authority: Authority, tmp_path: Path, sni: str, names: list[str]
) -> None:
    findings = found(tmp_path, f"'x.other.test', '{sni}'", authority.issue(*names, "x.other.test"))
    assert findings == [("name-not-covered", ("routes", 0, "sni", 1))]


@pytest.mark.parametrize(
    ("days", "code"), [(-3, "not-yet-valid"), (1.5, "expires-soon"), (40, "expired"), (-0.5, None)]
)
def test_when_it_is_valid(authority: Authority, tmp_path: Path, days: float, code: str | None) -> None:
    now = NOW + datetime.timedelta(days=days)
    findings = found(tmp_path, "", authority.issue("www.test"), now=now)
    assert findings == ([(code, ("certificates", 0, "cert"))] if code else [])


@pytest.mark.parametrize(
    ("sni", "name", "used"),
    [
        ("www.test", "www.test", True),
        ("www.test", "*.test", True),
        ("www.test", "api.test", False),
        ("*.test", "www.test", True),
        ("*.test", "*.test", True),
        ("*.test", "a.www.test", False),
        ("**.test", "a.www.test", True),
        ("**.test", "*.www.test", True),
        ("**.test", "*.test", True),
        ("**.test", "test", False),
        ("*", "www.test", True),
    ],
)
def test_a_certificate_that_no_route_uses(
    authority: Authority, tmp_path: Path, sni: str, name: str, used: bool
) -> None:
    findings = found(tmp_path, f"'{sni}'", authority.issue(name))
    assert (("unused-certificate", ("certificates", 0, "cert")) not in findings) is used


def test_a_certificate_that_an_earlier_one_hides(authority: Authority, tmp_path: Path) -> None:
    leaves = [
        authority.issue("www.test"),
        authority.issue("www.test"),
        authority.issue("www.test", key="rsa"),
    ]
    assert found(tmp_path, "", *leaves) == [("unused-certificate", ("certificates", 1, "cert"))]
    assert found(tmp_path, "", *leaves, default=1) == []


def test_a_chain_out_of_order(authority: Authority, tmp_path: Path) -> None:
    leaf, other = authority.issue("www.test"), authority.issue("other.test")
    leaf.cert.write_bytes(leaf.cert.read_bytes() + other.cert.read_bytes())
    assert found(tmp_path, "", leaf) == [("chain-order", ("certificates", 0, "cert"))]


def test_what_only_openssl_refuses_is_an_error(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spyhole.certs.context.CIPHERS_1_2", "ALL:@SECLEVEL=4")  # P-256 is too short for it
    findings = found(tmp_path, "", authority.issue("www.test"))
    assert findings == [("bad-certificate", ("certificates", 0, "cert"))]


def test_a_file_that_cannot_be_used_is_an_error_and_stops_guesses(
    authority: Authority, tmp_path: Path
) -> None:
    leaf, other = authority.issue("www.test"), authority.issue("other.test")
    leaf.key.write_bytes(other.key.read_bytes())
    assert found(tmp_path, "'uncovered.test'", leaf) == [("key-mismatch", ("certificates", 0, "key"))]
    errors = [finding.severity for finding in lint(load(tmp_path / "spyhole.toml"), NOW)]
    assert errors == [Severity.ERROR]


def test_a_default_is_used_by_any_terminate_route(authority: Authority, tmp_path: Path) -> None:
    leaf, default = authority.issue("www.test"), authority.issue("default.test")
    assert found(tmp_path, "'www.test'", leaf, default, default=1) == []


def test_a_route_that_does_not_terminate_needs_no_certificate(authority: Authority, tmp_path: Path) -> None:
    assert found(tmp_path, "'www.test'", authority.issue("www.test")) == []
    file = tmp_path / "spyhole.toml"
    text = file.read_text()
    file.write_text(text + '[[routes]]\nsni = "other.test"\nupstream = "127.0.0.1:1"\n')
    assert lint(load(file), NOW) == []
    file.write_text(text.replace("terminate", "passthrough"))
    assert [(finding.code, finding.path) for finding in lint(load(file), NOW)] == [
        ("unused-certificate", ("certificates", 0, "cert"))
    ]

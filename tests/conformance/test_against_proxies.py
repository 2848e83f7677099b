"""The suite against real proxies: ours has full marks, a careless one is found out, others are run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from spyhole.conformance.backends import Backends
from spyhole.conformance.case import Group
from spyhole.conformance.peers import PEERS
from spyhole.conformance.process import NotStarted, free_ports
from spyhole.conformance.ready import NotSetUp
from spyhole.conformance.report import Options, Report
from spyhole.conformance.routes import BACKENDS, SPECIAL, Routes
from spyhole.conformance.scoring import Mark, Result
from spyhole.conformance.suite import Suite
from support.openssl import LATER
from support.program import Program
from support.tools import needs, tool

PATIENCE = 60.0
"""Seconds that no machine is slow enough to need; they pass only where a proxy leaves a connection open."""
ROUTER = Path(__file__).parents[1] / "support" / "first_record_router.py"


def against(name: str, program: str | None, options: Options) -> Report:
    found = program or PEERS[name].find()
    assert found is not None
    return asyncio.run(Suite(options).against_peer(PEERS[name], found))


def other_later(result: Result) -> bool:
    """A later OpenSSL than the one that the parser follows has other alerts, and parses one thing more."""
    return result.mark is Mark.RIGHT or "compress_certificate" in result.case.name


def test_spyhole_has_full_marks(caplog: pytest.LogCaptureFixture) -> None:
    report = against("spyhole", None, Options(patience=PATIENCE))
    wrong = [
        f"{r.case.group} {r.case.name}, {r.routes} routes: expected {r.expected}; came {r.came}"
        for r in report.results
        if not (r.right or (LATER and other_later(r)))
    ]
    assert wrong == []
    assert report.all_right or LATER
    assert report.tally.marks[Mark.NOT_TRIED] == 0
    assert {result.case.group for result in report.results} == set(Group)
    assert {result.routes for result in report.results} == {1, 99, 101, 10_000}
    assert len(report.results) > 2_500
    assert caplog.records == [], "asyncio tells of defects in the suite's own ends"


def test_a_careless_router_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    """Of each kind of fault that the suite has a mark for, this proxy has one."""

    async def story() -> Report:
        suite = Suite(Options(deadline=1.5, patience=2.0, routes=(len(SPECIAL),)))
        async with Backends(BACKENDS) as backends:
            routes = Routes.of(len(SPECIAL)).names.items()
            names = [f"{name}={backends.addresses[label]}" for name, label in routes]
            (port,) = free_ports(1)
            words = [sys.executable, ROUTER, str(port), backends.addresses["default"], *names]
            with Program(*words) as router:
                await asyncio.to_thread(router.wait_for, "ready")
                return await suite.against_target("127.0.0.1", port, backends, terminates=False)

    report = asyncio.run(story())
    assert caplog.records == []
    marks: dict[str, Mark] = {}
    for result in report.results:
        marks.setdefault(result.case.family or result.case.name, result.mark)
    assert marks["one record in one segment"] is Mark.RIGHT
    assert marks["two records, cut behind the name"] is Mark.RIGHT
    assert marks["two records, cut in the name"] is Mark.MISROUTED
    assert marks["upper case"] is Mark.MISROUTED
    assert marks["two names"] is Mark.FORWARDED
    assert marks["a stall after each byte"] is Mark.FORWARDED
    assert marks["HTTP/1.1"] is Mark.FORWARDED
    assert marks["terminated: a second hello that names the same"] is Mark.NOT_TRIED
    assert not report.all_right
    assert report.tally.severities["high"] > 100
    wrong = {result.case.group for result in report.results if not result.right}
    assert wrong == set(Group) - {Group.AFTERWARDS}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("haproxy", marks=needs("haproxy")),
        pytest.param("nginx", marks=needs("nginx-stream")),
        pytest.param("sniproxy", marks=needs("sniproxy")),
        pytest.param("sslh", marks=needs("sslh")),
    ],
)
def test_other_proxies_are_started_and_asked(name: str) -> None:
    only = (Group.VERSIONS, Group.NOT_TLS, "one record in one segment", "the first route's name")
    program = tool("nginx-stream" if name == "nginx" else name)
    # what else they do is their affair; one of them leaves some connections open
    report = against(name, program, Options(patience=1.0, routes=(1,), only=only))
    assert report.notes == []
    assert report.version[0].isdecimal()
    marks = {(r.case.name, r.routes): r.mark for r in report.results}
    assert marks["one record in one segment", 99] is Mark.RIGHT
    assert marks["the first route's name", 1] is Mark.RIGHT
    assert marks["TLS 1.2 only", 99] is Mark.RIGHT
    assert marks["a hello after all that, 99 routes", 99] is Mark.RIGHT


def test_a_program_that_is_no_proxy() -> None:
    with pytest.raises(NotStarted, match="haproxy ended at once: it said nothing"):
        against("haproxy", "/bin/false", Options(routes=(1,)))
    with pytest.raises(NotStarted, match="No such file"):
        against("haproxy", "/nowhere/haproxy", Options(routes=(1,)))


def test_a_target_that_is_not_set_up() -> None:
    async def story() -> None:
        async with Backends(BACKENDS) as backends:
            host, port = backends.addresses["beta"].split(":")
            suite = Suite(Options(routes=(6,)))
            with pytest.raises(NotSetUp, match=r"alpha\.conformance\.test to .*: it went to 127\.0\.0\.1:"):
                await suite.against_target(host, int(port), backends, terminates=False)

    asyncio.run(story())

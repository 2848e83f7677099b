"""The arithmetic of the results, and the page and plots made of them, on samples with known figures."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from bench.measuring import Sample
from bench.proc import Cpu
from bench.results import Results
from bench.rounds import Failure
from bench.targets import TARGETS, Target
from bench.works import works

from bench import plot, report

LOAD = {
    "operations": 1000,
    "bytes": 0,
    "seconds": 0.5,
    "cpu_user": 0.2,
    "cpu_system": 0.2,
    "cpu_spun": 0.3,
    "p50_us": 10.0,
    "p99_us": 20.0,
    "p999_us": 30.0,
    "beside_bytes": 0,
    "tickets": 2000,
}
ABOUT = {
    "run": "full",
    "date": "2026-01-01",
    "machine": "two cores",
    "kernel": "6.1",
    "python": "CPython 3.11",
    "rounds": 2,
    "versions": {"spyhole": "1"},
    "left_out": ["traefik"],
}


def sample(work: str, peer: str, number: int, figure: float, rate: float = 2000, **load: Any) -> Sample:
    return Sample(work, peer, number, figure, rate, Cpu(figure / 1000, 0, 0), 0.0, LOAD | load)


def results(*samples: Sample, failures: tuple[Failure, ...] = ()) -> Results:
    keys = {sample.work for sample in samples}
    return Results(ABOUT, {}, [work for work in works(False) if work.key in keys], [*samples], [*failures])


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() -> None:
    found = results(
        *(sample("setup-fin", "spyhole", number, ours) for number, ours in enumerate([10, 40, 90])),
        *(sample("setup-fin", "haproxy", number, theirs) for number, theirs in enumerate([10, 20, 30])),
    ).ratio("setup-fin", "spyhole", "haproxy")
    assert found is not None
    assert (found.median, found.least, found.most) == (2.0, 1.0, 3.0)


def test_a_round_that_one_side_missed_counts_for_neither() -> None:
    found = results(
        sample("setup-fin", "spyhole", 0, 30),
        sample("setup-fin", "spyhole", 1, 10),
        sample("setup-fin", "haproxy", 1, 20),
    ).ratio("setup-fin", "spyhole", "haproxy")
    assert found is not None
    assert found.median == found.most == 0.5


def test_the_best_of_the_others_is_not_ours() -> None:
    found = results(
        *(sample("setup-fin", peer, 0, at) for peer, at in (("spyhole", 1), ("nginx", 3), ("haproxy", 2)))
    )
    assert found.best("setup-fin") == "haproxy"
    assert results(sample("setup-fin", "spyhole", 0, 1)).best("setup-fin") is None


def test_what_the_load_generator_polled_for_nothing_is_not_its_work() -> None:
    found = results(sample("setup-fin", "spyhole", 0, 1)).spread("setup-fin", "spyhole", "load")
    assert found is not None
    assert found.median == pytest.approx(100)  # µs: 0.2 + 0.2 - 0.3 s for 1000


@pytest.mark.parametrize(
    ("target", "ours", "theirs", "value", "met"),
    [
        (Target("", "setup-fin", 1.05), 105, 100, 1.05, True),
        (Target("", "setup-fin", 1.05), 106, 100, 1.06, False),
        (Target("", "setup-fin", 1.05), 105.4, 100, 1.054, True),  # it is shown as 1.05
        (Target("", "setup-fin", 100, ""), 105, 1, 105, False),
        (Target("", "setup-fin", 1.0, "best", "rate"), 1, 1, 1.0, True),
    ],
)
def test_a_target_is_met_by_what_is_shown(
    target: Target, ours: float, theirs: float, value: float, met: bool
) -> None:
    found = target.found(
        results(sample("setup-fin", "spyhole", 0, ours), sample("setup-fin", "haproxy", 0, theirs))
    )
    assert found is not None
    assert found.median == pytest.approx(value)
    assert target.is_met(found) is met


def test_less_throughput_than_the_best_misses_its_target() -> None:
    target = Target("", "setup-fin", 1.0, "best", "rate")
    found = target.found(
        results(
            sample("setup-fin", "spyhole", 0, 1, rate=100),
            sample("setup-fin", "haproxy", 0, 1, rate=150),
            sample("setup-fin", "nginx", 0, 1, rate=50),
        )
    )
    assert found is not None
    assert found.median == 1.5
    assert not target.is_met(found)


def test_growth_compares_us_with_ourselves() -> None:
    target = Target("", "routes-10000", 1.05, "itself", base="routes-1")
    samples = sample("routes-10000", "spyhole", 0, 55), sample("routes-1", "spyhole", 0, 50)
    found = target.found(results(*samples))
    assert found is not None
    assert found.median == pytest.approx(1.1)


def test_every_target_is_of_a_work_that_is_done() -> None:
    keys = {work.key for work in works(False)}
    assert {target.work for target in TARGETS} | {target.base for target in TARGETS} - {""} <= keys


def test_the_page_has_every_figure_and_says_what_is_missing() -> None:
    failures = tuple(Failure("setup-fin", "envoy", number, f"it fell {number} times") for number in (1, 2))
    found = results(
        sample("setup-fin", "spyhole", 0, 30),
        sample("setup-fin", "haproxy", 0, 20),
        sample("setup-reset", "spyhole", 0, 12),
        failures=failures,
    )
    page = report.page(found)
    assert "| closed by FIN, µs | 30.0 ±0% | **1.50** haproxy | 1.50 | 20.0 ±0% |" in page
    assert "| closed by reset, µs | 12.0 ±0% | – | – | – |" in page
    row = "CPU time, µs | 30.0 | 20.0 haproxy | 1.50 (1.50–1.50) | 1.05 | **no** |"
    assert f"| connection set-up: closed by FIN | {row}" in page
    assert "## The figures to reach: 0 reached, 1 not" in page
    assert "not measured" in page
    assert "- traefik: not installed" in page
    assert "- envoy, setup-fin (round 2, 3): it fell 1 times" in page


def test_plots_are_well_formed_and_have_every_peer_and_the_unit() -> None:
    names = "spyhole", "haproxy", "<nginx>"
    sheets = plot.sheets(results(*(sample("setup-fin", name, 0, 1234.5) for name in names)))
    root = ElementTree.fromstring(sheets["setup"])
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(texts)
    assert "CPU time of the proxy, µs per operation" in texts
    assert texts.count("1,234") + texts.count("1,235") == 3

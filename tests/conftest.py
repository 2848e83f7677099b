"""Fixtures for all tests; what they hand out lives in tests/support."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import hypothesis
import pytest

pytest.register_assert_rewrite("support")

from support.certificates import Authority  # noqa: E402
from support.spyhole_process import SPYHOLE_RUN, SpyholeProcess  # noqa: E402

# No time limit that a slow or busy machine would fail.
hypothesis.settings.register_profile(
    "spyhole", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("spyhole")

# What a script runs in its background has Ctrl-C ignored, and hands that on: tests would wait for programs
# that never see it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of vectors from outside, next to the checkout; skips by name where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "vectors"
    if not folder.is_dir():
        pytest.skip("needs the vectors from outside: ../shared/vectors is not there")
    return folder


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA for this test, its files in tmp_path."""
    return Authority(tmp_path)


@pytest.fixture
def spyhole(tmp_path: Path) -> Iterator[Callable[..., SpyholeProcess]]:
    """Starts `spyhole run` with the given flags or `config=` text; each is ended with the test.

    `prefix` is a command that starts it: ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh").
    """
    started: list[SpyholeProcess] = []

    def start(
        *arguments: str | Path, config: str | None = None, prefix: Sequence[str] = ()
    ) -> SpyholeProcess:
        process = SpyholeProcess(
            *arguments, directory=tmp_path, config=config, command=(*prefix, *SPYHOLE_RUN)
        )
        started.append(process)
        return process

    yield start
    failures = []
    for process in started:
        try:
            process.finish()
        except AssertionError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]

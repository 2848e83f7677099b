"""The suite: which cases a proxy is asked, on which of its instances, and what becomes of them.

A peer that the suite starts is started several times: with few routes and with many, and once more with a
deadline that is long, for the legal hellos that come in many pieces. There a machine that is slow must not
make a proxy look wrong; everywhere else the deadline is short, because waiting for it is what takes time.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.conformance import cases
from spyhole.conformance.backends import Backends, joined
from spyhole.conformance.case import Case, Group, Then
from spyhole.conformance.client import Stage, TooSlow, play
from spyhole.conformance.expect import Expected, expect
from spyhole.conformance.oracle import OpenSsl, throwaway_certificates
from spyhole.conformance.peers import Job, Peer
from spyhole.conformance.process import Process, free_ports
from spyhole.conformance.ready import check
from spyhole.conformance.report import Options, Report
from spyhole.conformance.routes import BACKENDS, TERMINATED_NAMES, Routes
from spyhole.conformance.scoring import Came, Result, not_tried, score

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_ROUTES: Final = 100_000 - 1
BASE: Final = 99
"""With how many routes all the rest is tried."""
LONG_DEADLINE: Final = 30.0
_SETTLE: Final = 0.5
"""Seconds for what a proxy still hands on when its client has left."""
_CONNECTING: Final = 16
_MOST_AT_ONCE: Final = 1500


class Suite:
    """Judges the cases and plays them, against one proxy after another."""

    def __init__(self, options: Options, progress: Callable[[str], None] = lambda _: None) -> None:
        """`progress` is told what is going on, now and then."""
        self.options = options
        self._progress = progress
        self._oracle = OpenSsl()
        self._at_once = asyncio.Semaphore(_room())

    async def against_peer(self, peer: Peer, program: str) -> Report:
        """Start the peer as often as it takes, and ask it everything. Raises NotStarted."""
        clock = asyncio.get_running_loop().time
        began = clock()
        report = Report(peer.name, peer.version(program), self.options)
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spyhole-conformance-")))
            certificate = throwaway_certificates(folder, *TERMINATED_NAMES)[1]
            plan = self._plan()
            ports = iter(free_ports(2 * len(plan)))
            started = []
            for number, instance in enumerate(plan):
                self._progress(f"starting {peer.name} with {instance.routes:,} routes")
                backends = await stack.enter_async_context(Backends(BACKENDS))
                directory = folder / str(number)
                directory.mkdir()
                job = Job(
                    *(program, next(ports), next(ports), instance.deadline, Routes.of(instance.routes)),
                    *(backends.addresses, *certificate, directory),
                )
                process = stack.enter_context(Process(peer, job))
                started.append((process, self._run(peer, job, backends, instance.asked)))
            await asyncio.gather(*(process.wait_until_ready(run.stage) for process, run in started))
            self._progress(f"{peer.name} is up: {sum(len(run.asked) for _, run in started):,} cases")
            report.results = await self._results([run for _, run in started])
            report.notes += [
                f"{peer.name} with {run.routes:,} routes ended by itself: {process.said}"
                for process, run in started
                if not process.running
            ]
        report.seconds = clock() - began
        return report

    async def against_target(self, host: str, port: int, backends: Backends, *, terminates: bool) -> Report:
        """Ask a proxy that somebody else has set up, to these backends. Raises NotSetUp."""
        routes = self.options.routes[0]
        clock = asyncio.get_running_loop().time
        began = clock()
        stage = self._stage(host, port, backends, self.options.deadline)
        await check(stage)
        asked = self._judged(cases.everything(Routes.of(routes), self.options.deadline), routes)
        run = _Run(routes, asked, stage, stage if terminates else None)
        report = Report(joined(host, port), "", self.options)
        report.results = await self._results([run])
        report.seconds = clock() - began
        return report

    def _run(self, peer: Peer, job: Job, backends: Backends, asked: list[_Asked]) -> _Run:
        ending = None
        if peer.terminates_on is not None:
            ending = self._stage("127.0.0.1", peer.terminates_on(job), backends, job.deadline)
        stage = self._stage("127.0.0.1", job.port, backends, job.deadline)
        return _Run(len(job.routes), asked, stage, ending)

    def _plan(self) -> list[_Instance]:
        """The instances of a peer, and what each is asked."""
        deadline = self.options.deadline
        plan: dict[tuple[int, float], list[_Asked]] = {}
        for asked in self._judged(cases.everything(Routes.of(BASE), deadline), BASE):
            if asked.case.group is not Group.NAMES:
                key = BASE, LONG_DEADLINE if asked.takes_long else deadline
                plan.setdefault(key, []).append(asked)
        for count in self.options.routes:
            listed = self._judged(cases.names_only(Routes.of(count)), count)
            if listed:
                plan.setdefault((count, deadline), []).extend(listed)
        return [_Instance(*key, asked) for key, asked in plan.items()]

    def _judged(self, listed: list[Case], count: int) -> list[_Asked]:
        routes = Routes.of(count)
        return [
            _Asked(case, expect(case, self._oracle.judge(case.wire), routes))
            for case in listed
            if self.options.wants(case)
        ]

    def _stage(self, host: str, port: int, backends: Backends, deadline: float) -> Stage:
        connecting = asyncio.Semaphore(_CONNECTING)
        return Stage(host, port, backends, deadline, self.options.patience, connecting)

    async def _results(self, runs: list[_Run]) -> list[Result]:
        listed = await asyncio.gather(*(self._play_all(run) for run in runs))
        return [result for results in listed for result in results]

    async def _play_all(self, run: _Run) -> list[Result]:
        """All cases at once, as far as there is room; then what came late; and then one more client."""
        results = await asyncio.gather(*(self._play(run, asked) for asked in run.asked))
        await asyncio.sleep(_SETTLE)
        results = _with_the_late(results, run)
        last = cases.afterwards(run.routes)
        expected = expect(last, self._oracle.judge(last.wire), Routes.of(run.routes))
        return [*results, await self._play(run, _Asked(last, expected))]

    async def _play(self, run: _Run, asked: _Asked) -> Result:
        case, expected = asked
        stage = run.ending if case.terminates else run.stage
        if stage is None:
            return not_tried(case, run.routes, expected, "it does not terminate TLS")
        async with self._at_once:
            try:
                came = await play(case, stage, self._oracle)
            except TooSlow:
                return not_tried(case, run.routes, expected, "this machine is too slow for the deadline")
        return score(case, run.routes, expected, came)


class _Asked(NamedTuple):
    case: Case
    expected: Expected

    @property
    def takes_long(self) -> bool:
        """A legal hello that comes in pieces: it may not run into the deadline."""
        return bool(self.case.pieces) and not self.expected.refusal


class _Instance(NamedTuple):
    """One of a peer that is to be started."""

    routes: int
    deadline: float
    asked: list[_Asked]


class _Run(NamedTuple):
    """One instance of a proxy that runs, and what it is asked."""

    routes: int
    asked: list[_Asked]
    stage: Stage
    ending: Stage | None
    """Where it terminates TLS."""


def _with_the_late(results: list[Result], run: _Run) -> list[Result]:
    """A client that has left can't see that it was routed after all. Its bytes at a backend tell."""
    late: dict[bytes, list[str]] = {}
    for connection in run.stage.backends.unclaimed():
        if connection.received:
            late.setdefault(bytes(connection.received), []).append(connection.label)
    found = list(results)
    # first those of whom nothing can be seen but this
    for index in sorted(range(len(found)), key=lambda i: found[i].case.then is not Then.RESET):
        result = found[index]
        labels = late.get(result.case.wire)
        if labels and result.came.backend is None and result.case.script is None:
            came = Came(labels.pop(), ended=True, note="after the client had left")
            found[index] = score(result.case, result.routes, result.expected, came)
    return found


def _room() -> int:
    """How many cases may run at once: each has two connections, and this process a limit on descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST_AT_ONCE + 200
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(16, min(_MOST_AT_ONCE, (soft - 200) // 2))

"""Silence, stalls, half-close and reset, at every byte of a hello and after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance.backends import GOODBYE, Connection
from spyhole.conformance.case import Case, Group, Severity, Then
from spyhole.conformance.cases.plain import MESSAGE, NAME, WIRE
from spyhole.conformance.hello import browser, encode
from spyhole.conformance.records import EMPTY, records
from spyhole.conformance.routes import ALPHA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spyhole.conformance.client import Link
    from spyhole.conformance.oracle import OpenSsl

_DEADLINE: Final = (
    "a hello has a deadline, counted from the beginning of the connection, which nothing extends"
)
_PART: Final = "a part of a hello has no name: nobody gets it"
_HALF: Final = "a client that has ended its direction may still read (RFC 9293, 3.6)"
_CAREFUL: Final = "CVE-2026-22045"


def cases(deadline: float) -> list[Case]:
    return [*_stalls(), *_trickles(deadline), *_ends(), *_relayed()]


def _stalls() -> Iterator[Case]:
    yield Case(Group.TIME, "silence", _DEADLINE, b"", cve=_CAREFUL)
    for size in range(1, len(WIRE)):
        yield Case(
            Group.TIME,
            f"a stall after {size} byte{'s' * (size != 1)}",
            _DEADLINE,
            WIRE[:size],
            cve=_CAREFUL,
            family="a stall after each byte",
        )
    one_a_record = records(MESSAGE, [1])
    for size in range(6, 6 * 24, 6):
        yield Case(
            Group.TIME,
            f"a stall after {size // 6} records of one byte",
            _DEADLINE,
            one_a_record[:size],
            cve=_CAREFUL,
            family="a stall after each of the first records of one byte",
        )


def _trickles(deadline: float) -> Iterator[Case]:
    gap = min(1.0, deadline / 4)
    for name, wire, size, may_refuse in (
        ("a byte", WIRE, 1, False),
        ("a record of one byte", records(MESSAGE, [1]), 6, False),
        ("an empty record", EMPTY * 32 + WIRE, 5, True),
    ):
        # OpenSSL is asked about what can be there by the deadline, and waits for more of each
        pieces = tuple(wire[at : at + size] for at in range(0, len(wire), size))[:32]
        yield Case(
            Group.TIME,
            f"{name} every {gap:g} s",
            _DEADLINE,
            b"".join(pieces),
            cve=_CAREFUL,
            pieces=pieces,
            gap=gap,
            may_refuse=may_refuse,
        )
    pause = min(1.0, deadline / 2)
    yield Case(
        Group.TIME,
        f"a hello of which the second half comes after {pause:g} s",
        "until the deadline a client has time",
        WIRE,
        pieces=(WIRE[: len(WIRE) // 2], WIRE[len(WIRE) // 2 :]),
        gap=pause,
    )


def _ends() -> Iterator[Case]:
    for then, what in {Then.FIN: "the client ends", Then.RESET: "the client resets"}.items():
        # a random of its own tells whose bytes a backend got when the client is not there to see it
        wire = records(encode(browser(NAME, random=then.name.encode().ljust(32))))
        for size in range(len(wire)):
            yield Case(
                Group.TIME,
                f"{what} after {size} byte{'s' * (size != 1)}",
                _PART,
                wire[:size],
                Severity.LOW,
                then=then,
                family=f"{what} after each byte of a hello",
            )


def _relayed() -> Iterator[Case]:
    for name, why, script in (
        ("the client ends behind its hello", _HALF, _client_ends),
        (
            "the client resets behind its hello",
            "a backend must not wait for a client that is gone",
            _client_resets,
        ),
        ("the backend ends first", "the other direction goes on (RFC 9293, 3.6)", _backend_ends),
        ("the backend resets", "a client must not wait for a backend that is gone", _backend_resets),
    ):
        yield Case(Group.TIME, name, why, WIRE, script=script, backends=frozenset({ALPHA}))


async def _client_ends(link: Link, _: OpenSsl) -> None:
    link.send(WIRE)
    link.finish()
    await _routed(link)
    if not await link.until(lambda: link.ended, link.stage.patience) or link.answer != GOODBYE:
        link.problem = link.problem or "the backend's answer did not come"


async def _client_resets(link: Link, _: OpenSsl) -> None:
    link.send(WIRE)
    backend = await _routed(link)
    if backend is not None:
        link.abort()
        if not await backend.until(lambda: backend.ended, link.stage.patience):
            link.problem = "the backend is not told"


async def _backend_ends(link: Link, _: OpenSsl) -> None:
    link.send(WIRE)
    backend = await _routed(link)
    if backend is None:
        return
    backend.finish()
    if not await link.until(lambda: link.ended, link.stage.patience):
        link.problem = "the client is not told"
    link.send(b"more")
    if not await link.arrives(WIRE + b"more"):
        link.problem = link.problem or "what the client sent then did not arrive"


async def _backend_resets(link: Link, _: OpenSsl) -> None:
    link.send(WIRE)
    backend = await _routed(link)
    if backend is not None:
        backend.abort()
        if not await link.until(lambda: link.ended, link.stage.patience):
            link.problem = "the client is not told"


async def _routed(link: Link) -> Connection | None:
    await link.decision()
    if link.backend is not None and not await link.arrives(WIRE):
        link.problem = "the hello did not arrive as it was sent"
    return link.backend

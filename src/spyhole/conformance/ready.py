"""Whether a proxy does its job at all: it routes the plainest hello."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.conformance.backends import joined, why
from spyhole.conformance.cases.plain import WIRE
from spyhole.conformance.client import Link
from spyhole.conformance.routes import ALPHA, ALPHA_NAME
from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from spyhole.conformance.client import Stage


class NotSetUp(OperatorError):
    """A proxy that somebody else has set up is not there, or does not route the plainest hello."""


async def check(stage: Stage) -> None:
    """Raises NotSetUp, with what came instead."""
    proxy = joined(stage.host, stage.port)
    try:
        came = await _come_of(stage)
    except OSError as error:
        raise NotSetUp(f"can't connect to the proxy at {proxy} (--target): {why(error)}") from None
    if came != ALPHA:
        raise NotSetUp(
            f"the proxy at {proxy} does not route {ALPHA_NAME} to the backend at "
            f"{stage.backends.addresses[ALPHA]}: {came}; set it up as --set-up shows"
        )


async def is_ready(stage: Stage) -> bool:
    """Whether it routes a plain hello, now."""
    try:
        return await _come_of(stage) == ALPHA
    except OSError:
        return False


async def _come_of(stage: Stage) -> str:
    """The label of the backend that a plain hello reaches; else what came, in words. Raises OSError."""
    link = await Link.open(stage)
    try:
        link.send(WIRE)
        await link.decision()
        if link.backend is not None:
            where = stage.backends.addresses[link.backend.label]
            return ALPHA if link.backend.label == ALPHA else f"it went to {where}"
        return "it was refused" if link.ended else f"nothing came in {stage.longest:g} s"
    finally:
        link.close()
        if link.backend is not None:
            link.backend.close()

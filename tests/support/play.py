"""Tell a story on Spyhole's loop: it may not hang, fail behind one's back, or leave a descriptor open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from spyhole.net.loop import run, running_loop
from spyhole.net.pipes import close_idle
from support.backends import BOUND
from support.proc import open_files

T = TypeVar("T")


def play(story: Coroutine[Any, Any, T], *, defects: list[BaseException | None] | None = None) -> T:
    """Run `story` to its end. What the loop's exception handler is told goes to `defects`, or fails it."""
    told: list[BaseException | None] = [] if defects is None else defects

    async def world() -> T:
        running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
        return await asyncio.wait_for(story, BOUND)

    close_idle()  # pipes that were made before, and are kept on purpose
    before = descriptors()
    result = run(world())
    assert defects is not None or not told, f"told to the exception handler: {told!r}"
    close_idle()
    assert not descriptors() - before, "descriptors are left open"
    return result


async def until(condition: Callable[[], object]) -> None:
    """Let the world turn until it holds."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def descriptors() -> set[str]:
    """The sockets and pipes that this process has open, by the kernel's names for them."""
    return {name for name in open_files(os.getpid()) if name.startswith(("socket:", "pipe:"))}

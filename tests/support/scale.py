"""How heavy a heavy test is: a little of it in `make test`, all of it in `make worn-down`.

CLIENTS = scaled(3000, small=300)
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

FULL_SCALE = bool(os.environ.get("FULL_SCALE"))

T = TypeVar("T")


def scaled(full: T, *, small: T) -> T:
    """`full` where the environment has FULL_SCALE=1, otherwise `small`."""
    return full if FULL_SCALE else small


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process, and what it starts, open as many files as root has allowed it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""A proxy of one worker that carries what it gets, and the listener that is its upstream.

with carrying_proxy(directory) as carrying:     # pass.test goes through, end.test is terminated
    client = connect(carrying.proxy.sockaddr())
    upstream = carrying.listener.accept()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support.certificates import Authority
from support.clients import Listener
from support.spyhole_process import SpyholeProcess


class Carrying(NamedTuple):
    """`authority` signed the certificate of end.test."""

    proxy: SpyholeProcess
    listener: Listener
    authority: Authority


@contextmanager
def carrying_proxy(directory: Path) -> Iterator[Carrying]:
    """Ends it at the end."""
    authority = Authority(directory)
    leaf = authority.issue("end.test")
    with Listener() as listener:
        proxy = SpyholeProcess(
            *("--listen", "127.0.0.1:0", "--workers", "1", "--cert", leaf.cert, "--key", leaf.key),
            *("--route", f"pass.test={listener.address}"),
            *("--route", f"end.test=terminate:{listener.address}"),
            directory=directory,
        )
        try:
            yield Carrying(proxy, listener, authority)
        finally:
            proxy.finish()

"""A real `openssl s_server`, set up as Spyhole terminates TLS: the model for malformed handshakes.

with SServer(leaf) as server:
    server.sockaddr
"""

from __future__ import annotations

from typing import Self

from spyhole.certs.context import CIPHERS_1_2
from support.certificates import Leaf
from support.program import Program
from support.tools import tool


class SServer:
    """One connection at a time; each line that comes is sent back reversed, as by `reversing`.

    `instead` are flags for another answer than that.
    """

    def __init__(
        self, leaf: Leaf, second: Leaf | None = None, *, instead: tuple[str, ...] = ("-rev",)
    ) -> None:
        another = () if second is None else ("-dcert", second.cert, "-dkey", second.key)
        self._program = Program(
            *(tool("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", leaf.cert, "-key", leaf.key),
            *("-cipher", CIPHERS_1_2, "-min_protocol", "TLSv1.2", "-serverpref", "-no_renegotiation"),
            *("-no_comp", *another, *instead),
        )
        host, _, port = self._program.wait_for(r"ACCEPT (\S+)")[1].rpartition(":")
        self.sockaddr = (host, int(port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of: object) -> None:
        self._program.__exit__(None, None, None)

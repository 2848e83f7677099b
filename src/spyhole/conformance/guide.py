"""How to set up a proxy for the suite: in words for one's own, as files for one that the suite starts."""

from __future__ import annotations

import shlex
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from spyhole.conformance.backends import joined
from spyhole.conformance.oracle import throwaway_certificates
from spyhole.conformance.peers import Job, Peer
from spyhole.conformance.routes import BACKENDS, DEFAULT, TERMINATED_NAMES, Routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WIDEST: Final = 48


def addresses(host: str, first_port: int) -> dict[str, str]:
    """Where the backends listen: label → address."""
    return {label: joined(host, first_port + offset) for offset, label in enumerate(BACKENDS)}


def words(routes: Routes, backends: Mapping[str, str], deadline: float) -> Iterator[str]:
    """What a proxy has to be told, as lines: a name and where it goes."""
    yield "Pass TLS through, unchanged, by exact server name:"
    yield ""
    width = min(_WIDEST, max(map(len, routes.names)))
    for name, label in routes.names.items():
        yield f"  {name:{width}}  {backends[label]}"
    yield f"  {'any other name, or none':{width}}  {backends[DEFAULT]}"
    yield ""
    yield "Refuse what is not TLS. Give a client for its hello, from the beginning of the connection,"
    yield f"{deadline:g} s (--deadline). When one side ends, let the other go on."
    yield ""
    yield "If the proxy can terminate TLS, with any certificate, for these, say so with --terminates:"
    yield ""
    for name, label in zip(TERMINATED_NAMES, BACKENDS[-2:], strict=True):
        yield f"  {name:{width}}  {backends[label]}, in plaintext"


def files(peer: Peer, program: str, routes: Routes, deadline: float) -> Iterator[str]:
    """The command line that starts a peer, and the files that it reads, as lines."""
    with TemporaryDirectory(prefix="spyhole-conformance-") as folder:
        cert, key = throwaway_certificates(Path(folder), *TERMINATED_NAMES)[1]
        directory = Path(folder, "files")
        directory.mkdir()
        job = Job(
            *(program, 8443, 8444, deadline, routes),
            *(addresses("127.0.0.1", 9801), cert, key, directory),
        )
        yield f"$ {shlex.join(peer.command(job))}"
        for path in sorted(directory.iterdir()):
            if path.suffix != ".pem":
                yield from ("", f"{path}:", "", *path.read_text().splitlines())

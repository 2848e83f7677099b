"""tlsfuzzer's conversations end with Spyhole as with `openssl s_server`, and with nginx as through Spyhole.

It is not on PyPI: TLSFUZZER=DIR says where a checkout is.
"""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

import pytest

from support.backends import Backend
from support.nginx import Nginx
from support.public_certificate import PublicAuthority
from support.s_server import SServer
from support.spyhole_process import SpyholeProcess
from support.suites import SSLYZE, run
from support.tools import needs

TLSFUZZER = os.environ.get("TLSFUZZER")
NAME = "localhost"
AT_ONCE = 8

pytestmark = [
    needs("nginx", "openssl"),
    pytest.mark.skipif(TLSFUZZER is None, reason="needs a checkout of tlsfuzzer: TLSFUZZER=DIR"),
]

LEFT_OUT = re.compile(
    "certificate-(malformed|request|verify)|(in|on)-certificate-verify|client-cert|post-handshake-auth|psk_"
    "|bleichenbacher|kRSA|invalid-rsa|atypical-padding|encrypt-then-mac|fuzzed-(MAC|padding)|2107|SSLv3"
    "|test-dhe|test-ffdhe|dsa-sig|record-size-limit|tls13-mlkem|test-heartbeat"
    "|lucky13|minerva|test-lengths|tls13-lengths"
)
"""About clients' certificates, and keys known before; about what is not there, in our policy or in OpenSSL
3.0; about time; and those that want a server which sends everything back."""

DIFFERENT = {
    # names that are none, which OpenSSL has no use for
    "test-invalid-server-name-extension.py": {
        "Empty hostname in SNI extension",
        "SNI name with ANSI color escapes code",
        "SNI name with BEL",
        "SNI name with UTF-8",
    },
    # a hello of SSLv2's form is refused for that; OpenSSL looks into it, and finds nothing in common
    "test-ecdhe-rsa-key-share-random.py": {
        "Protocol (3, 0) in SSLv2 compatible ClientHello",
        "Protocol (3, 3) in SSLv2 compatible ClientHello",
    },
    "test-serverhello-random.py": {"Protocol (3, 0) in SSLv2 compatible ClientHello"},
    "test-sslv2hello-protocol.py": {"SSLv2 Client Hello"},
}
"""The conversations that end in another way where Spyhole reads the hello, and why."""

FASTER = {
    # s_server answers the first line of a request before it reads on; a proxy reads on
    "test-legacy-renegotiation.py": {
        "insecure (legacy) renegotiation with incomplete GET",
        "secure renegotiation with incomplete GET",
    },
    "test-renegotiation-disabled.py": {
        "try insecure (legacy) renegotiation with incomplete GET",
        "try secure renegotiation with incomplete GET",
    },
}
"""Those in which s_server is ahead of a server behind a proxy, or not."""

OVERTAKEN = {
    "test-tls13-multiple-ccs-messages.py": {
        "sanity with one CCS message",
        "second CCS before client finished",
    },
}
"""Those in which nginx's reset overtakes its alert on the direct way, or not: mostly for a whole run."""

FEWER = {"test-fuzzed-plaintext.py": ("-n", "10")}
"""In each of these a client waits for five seconds."""

Said: TypeAlias = dict[str, list[str]]
"""Of each conversation, by its name: what went against the script's expectation, "" for nothing."""


def scripts() -> list[str]:
    found = Path(TLSFUZZER, "scripts").glob("test-*.py") if TLSFUZZER else []
    return sorted(path.name for path in found if not LEFT_OUT.search(path.name))


def converse(script: str, port: int, *names: str) -> Said:
    """Run the conversations that are named, or all."""
    assert TLSFUZZER is not None
    source = Path(TLSFUZZER, "tlsfuzzer/_apps", script.replace("-", "_")).read_text()
    out = run(
        *(str(SSLYZE.with_name("python")), str(Path(__file__).with_name("tlsfuzzer_script.py"))),
        *(f"scripts/{script}", "-h", NAME, "-p", str(port)),
        *(["-d"] if "'-d'" in source else []),  # (EC)DHE
        *FEWER.get(script, ()),
        *names,
        directory=TLSFUZZER,
    )
    said: Said = {}
    for line in out.splitlines():
        if begun := re.fullmatch(r'"(.*)" repeat \d+.*|(.*\S) ?\.\.\.', line):
            name = begun[1] or begun[2]
        elif line.startswith("== "):
            said.setdefault(name, []).append(re.sub(r"len=\d+", "len=N", line[3:]))
    assert said, out
    return said


class Servers:
    """Spyhole and s_server, nginx directly and through Spyhole: all are asked at once."""

    def __init__(self, ports: dict[str, int], models: SimpleQueue[SServer], asked: list[str]) -> None:
        self._ports = ports
        self._models = models
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._said: dict[tuple[str, str], Future[Said]] = {
            (script, server): self._pool.submit(self._ask, script, server)
            for script in asked
            for server in (*ports, "s_server")
        }
        self.counts: dict[str, Counter[str]] = {}
        """Of each two servers that were compared."""

    def differ(self, script: str, one: str, other: str, known: set[str]) -> dict[str, object]:
        """What was said of each conversation that ended in two ways: asked again, unless it is `known`."""
        first, second = (self._said[script, server].result() for server in (one, other))
        differ = {
            name: (first.get(name), second.get(name))
            for name in first | second
            if not agree(first, second, name)
        }
        for name in [name for name in differ if name not in known][:MOST]:
            if any(
                agree(*(self._ask(script, server, name) for server in (one, other)), name)
                for _ in range(TRIES)
            ):
                del differ[name]
        self.counts.setdefault(f"{one} and {other}", Counter()).update(
            {
                "scripts": 1,
                "conversations": len(first),
                "played": sum(map(len, first.values())),
                "as the script expects": sum(ends.count("") for ends in first.values()),
                "different": len(differ),
            }
        )
        return differ

    def _ask(self, script: str, server: str, *names: str) -> Said:
        if server in self._ports:
            return converse(script, self._ports[server], *names)
        model = self._models.get()
        try:
            return converse(script, model.sockaddr[1], *names)
        finally:
            self._models.put(model)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


TRIES, MOST = 5, 8
"""A reset may be faster than the alert before it, or not: where some few differ, both are asked again."""


def agree(first: Said, second: Said, name: str) -> bool:
    """Some are repeated until by chance something comes, so the number is of no matter."""
    return set(first.get(name, ())) == set(second.get(name, ()))


def answering() -> Backend:
    """As `openssl s_server -www`: it knows GET, and no more of HTTP."""

    def serve(connection: socket.socket) -> bytes:
        with connection.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"GET "):
                    connection.sendall(b"HTTP/1.0 200 ok\r\nContent-type: text/plain\r\n\r\nhello\r\n")
                    connection.shutdown(socket.SHUT_WR)
        return b""

    return Backend(serve)


@pytest.fixture(scope="module")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]
) -> Iterator[Servers]:
    directory = tmp_path_factory.mktemp("tlsfuzzer")
    # each signed by its own kind: a client that knows only one of them must find it in the chain
    ecdsa = PublicAuthority(directory, "ecdsa").issue(NAME, "ecdsa")
    rsa = PublicAuthority(directory, "rsa").issue(NAME, "rsa")
    models: SimpleQueue[SServer] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            models.put(stack.enter_context(SServer(ecdsa, rsa, instead=("-www", "-alpn", "http/1.1"))))
        nginx = stack.enter_context(Nginx(directory, [ecdsa, rsa]))
        backend = stack.enter_context(answering())
        proxy = SpyholeProcess(
            directory=directory,
            config=f"""
                workers = 1
                access_log = {str(directory / "access.log")!r}
                # as in OpenSSL, and longer than a client waits
                max_hello_size = 131_400
                hello_timeout = 10
                certificates = [
                    {{ cert = {str(ecdsa.cert)!r}, key = {str(ecdsa.key)!r}, default = true }},
                    {{ cert = {str(rsa.cert)!r}, key = {str(rsa.key)!r} }},
                ]
                listeners = [
                    {{ name = "end", bind = "127.0.0.1:0" }},
                    {{ name = "pass", bind = "127.0.0.1:0" }},
                ]
                [[routes]]
                listener = "end"
                mode = "terminate"
                alpn = ["http/1.1", ""]
                upstream = "{backend.address}"
                [[routes]]
                listener = "pass"
                upstream = "{nginx.address}"
            """,
        )
        stack.callback(proxy.finish)
        ports = {
            "spyhole": proxy.sockaddr(0)[1],
            "nginx": nginx.sockaddr[1],
            "nginx through spyhole": proxy.sockaddr(1)[1],
        }
        asked = {
            item.callspec.params["script"]: None  # a set, in order
            for item in request.session.items
            if hasattr(item, "callspec") and "script" in item.callspec.params
        }
        made = Servers(ports, models, list(asked))
        stack.callback(made.close)
        yield made
        for which, counts in made.counts.items():
            figure(
                f"tlsfuzzer, {which}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items())
            )


@pytest.mark.parametrize("script", scripts())
def test_as_s_server(servers: Servers, script: str) -> None:
    known, faster = DIFFERENT.get(script, set()), FASTER.get(script, set())
    differ = servers.differ(script, "spyhole", "s_server", known | faster)
    assert differ.keys() - faster == known, differ


@pytest.mark.parametrize("script", scripts())
def test_the_pipe(servers: Servers, script: str) -> None:
    known, overtaken = DIFFERENT.get(script, set()), OVERTAKEN.get(script, set())
    differ = servers.differ(script, "nginx", "nginx through spyhole", known | overtaken)
    assert differ.keys() - overtaken == known, differ

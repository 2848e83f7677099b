"""Other people's clients reach the right upstream, through passthrough and through termination.

A passthrough backend has its certificate from one authority and the proxy from another; every client
trusts only the one it is told, so the page that it gets says who was reached and who held the key.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.backends import BOUND, Backend
from support.certificates import TLS_1_2, TLS_1_3, Authority
from support.clients import connect, read_to_end
from support.proc import holders_of
from support.spyhole_process import SpyholeProcess
from support.tools import needs, tool

REQUEST = b"GET / HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n"
VERSIONS = {"1.2": TLS_1_2, "1.3": TLS_1_3}


def page(name: str, context: ssl.SSLContext | None = None, *, at: str | Path = "127.0.0.1") -> Backend:
    """A web server whose one page is its name and the TLS version and ALPN it spoke itself."""

    def serve(connection: socket.socket) -> bytes:
        if context is None:
            return answer(connection, name)
        with context.wrap_socket(connection, server_side=True) as tls:
            request = answer(tls, f"{name} {tls.version()}")
            tls.unwrap()
            return request

    def answer(connection: socket.socket, text: str) -> bytes:
        request = b""
        while not request.endswith(b"\r\n\r\n") and (data := connection.recv(65536)):
            request += data
        body = text.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        if not isinstance(connection, ssl.SSLSocket):
            connection.shutdown(socket.SHUT_WR)
        return request

    return Backend(serve, at=at)


@dataclass
class World:
    """One proxy on IPv4 and IPv6, with a backend for each way and kind of name."""

    proxy: SpyholeProcess
    theirs: Authority
    ours: Authority


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    (directory / "theirs").mkdir()
    (directory / "ours").mkdir()
    theirs, ours = Authority(directory / "theirs", "upstream's"), Authority(directory / "ours", "proxy's")
    git = theirs.issue("git.test", "*.apps.test", key="rsa").server_context()
    www, shop = ours.issue("www.test"), ours.issue("*.shop.test")
    with ExitStack() as stack:
        exact, wild, other = (
            stack.enter_context(backend)
            for backend in (page("git", git), page("apps", git, at="::1"), page("other", git))
        )
        plain, shops = (stack.enter_context(page("www")), stack.enter_context(page("shop", at="::1")))
        proxy = SpyholeProcess(
            *("--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--workers", "2"),
            *("--cert", www.cert, "--key", www.key, "--cert", shop.cert, "--key", shop.key),
            *("--route", f"git.test={exact.address}", "--route", f"*.apps.test={wild.address}"),
            *("--route", f"www.test=terminate:{plain.address}"),
            *("--route", f"*.shop.test=terminate:{shops.address}", "--route", f"*={other.address}"),
            directory=directory,
        )
        stack.callback(proxy.finish)
        yield World(proxy, theirs, ours)


# Each client: (address, server name, CA file, TLS version) -> all that the server answered.


def with_curl(at: tuple[str, int], name: str, ca: Path, version: str) -> bytes:
    host = f"[{at[0]}]" if ":" in at[0] else at[0]
    return run(
        *(tool("curl"), "--silent", "--show-error", "--include", "--http1.1", "--cacert", ca),
        *(f"--tlsv{version}", "--tls-max", version, "--resolve", f"{name}:{at[1]}:{host}"),
        f"https://{name}:{at[1]}/",
    )


def with_openssl(at: tuple[str, int], name: str, ca: Path, version: str) -> bytes:
    host = f"[{at[0]}]" if ":" in at[0] else at[0]
    return run(
        *(tool("openssl"), "s_client", "-quiet", "-no_ign_eof", "-connect", f"{host}:{at[1]}"),
        *("-servername", name, "-verify_hostname", name, "-verify_return_error", "-CAfile", ca),
        *(f"-tls{version.replace('.', '_')}", "-ign_eof"),
        stdin=REQUEST,
    )


def with_gnutls(at: tuple[str, int], name: str, ca: Path, version: str) -> bytes:
    return run(
        *(tool("gnutls-cli"), "--logfile=/dev/null", f"--x509cafile={ca}"),
        *(f"--sni-hostname={name}", f"--verify-hostname={name}", f"--port={at[1]}", at[0]),
        f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}",
        stdin=REQUEST,
    )


def with_python(at: tuple[str, int], name: str, ca: Path, version: str) -> bytes:
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = context.maximum_version = VERSIONS[version]
    with context.wrap_socket(connect(at), server_hostname=name) as tls:
        tls.sendall(REQUEST)
        return read_to_end(tls)


def run(*words: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=BOUND, check=False)
    assert done.returncode == 0, f"{words}\n{done.stderr.decode(errors='replace')}"
    return done.stdout


Client = Callable[[tuple[str, int], str, Path, str], bytes]
CLIENTS = [
    pytest.param(with_curl, id="curl", marks=needs("curl")),
    pytest.param(with_openssl, id="openssl", marks=needs("openssl")),
    pytest.param(with_gnutls, id="gnutls", marks=needs("gnutls-cli")),
    pytest.param(with_python, id="python"),
]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("client", CLIENTS)
class TestClients:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [("git.test", "git"), ("one.apps.test", "apps")],
    )
    def test_passthrough(
        self, world: World, client: Client, family: int, version: str, name: str, expected: str
    ) -> None:
        answer = client(world.proxy.sockaddr(family), name, world.theirs.pem, version)
        assert answer.endswith(f"\r\n\r\n{expected} TLSv{version}".encode())

    @pytest.mark.parametrize(("name", "expected"), [("www.test", "www"), ("a.shop.test", "shop")])
    def test_terminate(
        self, world: World, client: Client, family: int, version: str, name: str, expected: str
    ) -> None:
        answer = client(world.proxy.sockaddr(family), name, world.ours.pem, version)
        assert answer.endswith(f"\r\n\r\n{expected}".encode())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_name_is_the_same_in_capitals(world: World, version: str) -> None:
    answer = with_python(world.proxy.sockaddr(), "GIT.Test", world.theirs.pem, version)
    assert answer.endswith(f"\r\n\r\ngit TLSv{version}".encode())


def test_the_log_says_where_each_connection_went(
    spyhole: Callable[..., SpyholeProcess], authority: Authority
) -> None:
    leaf = authority.issue("git.test", "www.test")
    with page("git", leaf.server_context()) as git, page("www") as www:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--cert", leaf.cert, "--key", leaf.key, "--workers", "1"),
            *("--route", f"git.test={git.address}", "--route", f"www.test=terminate:{www.address}"),
        )
        with_python(proxy.sockaddr(), "git.test", authority.pem, "1.2")
        with_python(proxy.sockaddr(), "www.test", authority.pem, "1.3")
        records = {record["server_name"]: record for record in proxy.access_records(2)}
    passed, ended = records["git.test"], records["www.test"]
    assert (passed["route"], passed["mode"], passed["upstream"]) == (
        "routes[1]",
        "passthrough",
        git.address,
    )
    assert (ended["route"], ended["mode"], ended["upstream"]) == ("routes[2]", "terminate", www.address)
    assert passed["tls_version"] is None
    assert passed["bytes_in"] > 4 * len(REQUEST), "a passthrough carries the whole of TLS"
    assert (ended["tls_version"], ended["cipher"]) == ("1.3", "TLS_AES_256_GCM_SHA384")
    assert ended["bytes_in"] == len(REQUEST), "the plaintext is what counts"
    assert (passed["reason"], ended["reason"]) == ("closed", "closed")


@pytest.mark.parametrize("mode", ["passthrough", "terminate"])
def test_unix_sockets_on_both_sides(
    spyhole: Callable[..., SpyholeProcess], authority: Authority, tmp_path: Path, mode: str
) -> None:
    leaf = authority.issue("www.test")
    context = leaf.server_context() if mode == "passthrough" else None
    with page("www", context, at=tmp_path / "upstream.sock") as backend:
        proxy = spyhole(
            *("--listen", f"unix:{tmp_path}/front.sock", "--workers", "2"),
            *("--cert", leaf.cert, "--key", leaf.key, "--route", f"www.test={mode}:{backend.address}"),
        )
        client = authority.client_context()
        with client.wrap_socket(connect(proxy.sockaddr()), server_hostname="www.test") as tls:
            tls.sendall(REQUEST)
            assert b"\r\n\r\nwww" in read_to_end(tls)
        (record,) = proxy.access_records(1)
        assert (record["client"], record["upstream"]) == ("unix:", backend.address)
        assert proxy.stop() == 0
    assert not (tmp_path / "front.sock").exists(), "the socket's file is removed at the end"


@needs("openssl")
class TestCertificates:
    def test_each_name_gets_its_own(
        self, spyhole: Callable[..., SpyholeProcess], authority: Authority
    ) -> None:
        leaves = [authority.issue("a.test"), authority.issue("*.b.test"), authority.issue("x.b.test")]
        with page("any") as backend:
            proxy = spyhole(
                *("--listen", "127.0.0.1:0", "--route", f"*=terminate:{backend.address}"),
                *(word for leaf in leaves for word in ("--cert", leaf.cert, "--key", leaf.key)),
            )
            for name, leaf in (
                ("a.test", leaves[0]),
                ("any.b.test", leaves[1]),
                ("x.b.test", leaves[2]),
                ("A.TEST", leaves[0]),
            ):
                context = authority.client_context()
                with context.wrap_socket(connect(proxy.sockaddr()), server_hostname=name) as tls:
                    assert tls.getpeercert(True) == der_of(leaf.cert)
                    tls.sendall(REQUEST)
                    read_to_end(tls)

    @pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
    @pytest.mark.parametrize("key", ["rsa", "ecdsa"])
    def test_rsa_and_ecdsa_for_one_name(
        self,
        spyhole: Callable[..., SpyholeProcess],
        tmp_path: Path,
        authority: Authority,
        key: str,
        version: ssl.TLSVersion,
    ) -> None:
        leaves = {kind: authority.issue("www.test", key=kind) for kind in ("rsa", "ecdsa")}
        words = [word for leaf in leaves.values() for word in ("--cert", leaf.cert, "--key", leaf.key)]
        with page("www") as backend:
            proxy = spyhole(
                *("--listen", "127.0.0.1:0", "--route", f"www.test=terminate:{backend.address}"), *words
            )
            # a client that can check one kind of signature only, as openssl alone lets one say it
            algorithms = "RSA-PSS+SHA256:RSA+SHA256" if key == "rsa" else "ECDSA+SHA256"
            host, port = proxy.sockaddr()
            shown = run(
                *(tool("openssl"), "s_client", "-connect", f"{host}:{port}", "-servername", "www.test"),
                *("-sigalgs", algorithms, "-tls1_2" if version is TLS_1_2 else "-tls1_3"),
            ).decode()
        # "RSA-PSS" and "ECDSA", since OpenSSL 3.5 "rsa_pss_rsae_sha256" and "ecdsa_secp256r1_sha256"
        used = re.search(r"Peer signature type: (\w+.\w+)", shown)
        assert used is not None
        assert used[1].lower().startswith("rsa" if key == "rsa" else "ecdsa")
        begin = shown.index("-----BEGIN CERTIFICATE-----")
        end = shown.index("-----END CERTIFICATE-----") + 25
        assert ssl.PEM_cert_to_DER_cert(shown[begin:end]) == der_of(leaves[key].cert)


def der_of(file: Path) -> bytes:
    """The first certificate of a PEM file, the leaf."""
    pem = file.read_text()
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 25])


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_alpn_is_chosen_from_the_route(
    spyhole: Callable[..., SpyholeProcess], authority: Authority, version: ssl.TLSVersion
) -> None:
    leaf = authority.issue("www.test")
    with page("h2") as h2, page("rest") as rest, page("none") as none:
        proxy = spyhole(
            config=f"""
                listeners = [{{ bind = "127.0.0.1:0" }}]
                certificates = [{{ cert = {str(leaf.cert)!r}, key = {str(leaf.key)!r} }}]
                [[routes]]
                sni = "www.test"
                alpn = ["h2", "http/1.1"]
                mode = "terminate"
                upstream = "{h2.address}"
                [[routes]]
                sni = "www.test"
                alpn = ["", "spdy/1"]
                mode = "terminate"
                upstream = "{none.address}"
                [[routes]]
                mode = "terminate"
                upstream = "{rest.address}"
                """
        )
        for offered, chosen, reached in (
            (("h2", "http/1.1"), "h2", "h2"),
            (("http/1.1", "h2"), "h2", "h2"),  # the route's order, not the client's
            (("other", "http/1.1"), "http/1.1", "h2"),
            ((), None, "none"),
            (("other",), None, "rest"),
        ):
            context = authority.client_context(alpn=offered, version=version)
            with context.wrap_socket(connect(proxy.sockaddr()), server_hostname="www.test") as tls:
                tls.sendall(REQUEST)
                assert read_to_end(tls).endswith(reached.encode()), offered
                assert tls.selected_alpn_protocol() == chosen, offered


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_tickets_resume_in_every_worker(
    spyhole: Callable[..., SpyholeProcess], authority: Authority, version: ssl.TLSVersion
) -> None:
    leaf = authority.issue("www.test")
    context = authority.client_context(version=version)
    with page("www") as backend:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--cert", leaf.cert, "--key", leaf.key, "--workers", "2"),
            *("--route", f"www.test=terminate:{backend.address}"),
        )
        workers = proxy.worker_pids()
        assert len(workers) == 2

        def visit(session: ssl.SSLSession | None) -> tuple[bool | None, int | None, ssl.SSLSession | None]:
            plain = connect(proxy.sockaddr())
            with context.wrap_socket(plain, server_hostname="www.test", session=session) as tls:
                (worker,) = holders_of([tls], workers)
                tls.sendall(REQUEST)
                assert read_to_end(tls).endswith(b"www")  # a TLS 1.3 ticket comes with the answer
                return tls.session_reused, worker, tls.session

        reused, first, session = visit(None)
        assert not reused
        served = dict.fromkeys(workers, 0)
        for _ in range(200):
            reused, worker, _ = visit(session)
            assert reused, f"{worker} does not know the ticket of {first}"
            assert worker is not None
            served[worker] += 1
            if min(served.values()) >= 3:
                return
        raise AssertionError(f"the kernel spread 200 connections as {served}")

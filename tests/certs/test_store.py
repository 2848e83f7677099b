"""The store serves what it chose, by contexts that were made at start, in every process forked after it."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from spyhole.certs.certificate import Certificate
from spyhole.certs.context import TlsPolicy
from spyhole.certs.store import CertificateErrors, CertificateStore
from spyhole.errors import OperatorError
from spyhole.net.tls import TlsEngine, TlsError
from support.certificates import TLS_1_2, TLS_1_3, Authority, Leaf

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = TlsPolicy("1.2", ("h2", "http/1.1", ""))


class Files:
    """A `[[certificates]]`."""

    def __init__(self, leaf: Leaf, default: bool = False) -> None:
        self.cert, self.key, self.default = leaf.cert, leaf.key, default


def serve(context: ssl.SSLContext, name: str, sock: socket.socket) -> None:
    """One connection: the handshake, and whatever is sent comes back, until close_notify."""
    engine = TlsEngine(context, server_name=name.encode())
    done = False
    buffer = memoryview(bytearray(65_536))
    while not engine.peer_closed and (data := sock.recv(65_536)):
        try:
            if not done:
                done, data = engine.handshake(data), b""
            if done and (count := engine.read_into(buffer, data)):
                engine.write(buffer[:count])
        finally:
            sock.sendall(engine.take())


def in_a_fork(serve_one: Callable[[socket.socket], None]) -> tuple[socket.socket, int]:
    """Fork a process that serves one connection: our end of it, and its process id."""
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process == 0:
        try:
            ours.close()
            serve_one(theirs)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(60)
    return ours, process


def handshake(
    context: ssl.SSLContext, client: ssl.SSLContext, name: str = "www.test"
) -> tuple[TlsEngine, ssl.SSLObject]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(incoming, outgoing, server_hostname=name)
    engine = TlsEngine(context, server_name=name.encode())
    for _ in range(6):
        try:
            tls.do_handshake()
            client_done = True
        except ssl.SSLWantReadError:
            client_done = False
        if engine.handshake(outgoing.read()) and client_done:
            return engine, tls
        incoming.write(engine.take())
    pytest.fail("the handshake does not end")


def served(store: CertificateStore, name: str | None, policy: TlsPolicy = POLICY) -> ssl.SSLContext:
    context = store.context(name, policy)
    assert context is not None
    return context


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_the_certificate_of_the_name_is_served_with_alpn_and_aead(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    leaves = [authority.issue("www.test"), authority.issue("*.shop.test")]
    store = CertificateStore.load(map(Files, leaves), [POLICY])
    client = authority.client_context(alpn=("http/1.1", "h2"), version=version)
    for name in ("www.test", "a.shop.test"):
        engine, _ = handshake(served(store, name), client, name)
        assert engine.alpn == "h2"  # our order
        assert engine.cipher is not None
        assert "GCM" in engine.cipher or "CHACHA20" in engine.cipher
    for name in ("shop.test", "other.test", None):
        assert store.choose(name) is None
        assert store.context(name, POLICY) is None


def test_rsa_and_ecdsa_for_one_name_serve_what_the_client_can_use(authority: Authority) -> None:
    leaves = [authority.issue("www.test", key="rsa"), authority.issue("www.test")]
    store = CertificateStore.load(map(Files, leaves), [POLICY])
    for key in ("RSA", "ECDSA"):
        client = authority.client_context(version=TLS_1_2)
        client.set_ciphers(f"ECDHE-{key}-AES128-GCM-SHA256")
        engine, _ = handshake(served(store, "www.test"), client)
        assert engine.cipher == f"ECDHE-{key}-AES128-GCM-SHA256"


@pytest.mark.parametrize(
    ("policy", "version", "ciphers", "detail"),
    [
        (TlsPolicy("1.3"), TLS_1_2, None, "unsupported protocol"),
        (TlsPolicy("1.2"), TLS_1_2, "ECDHE-ECDSA-AES128-SHA256", "no shared cipher"),
        (TlsPolicy("1.2"), ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", "unsupported protocol"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_what_is_below_the_policy_is_refused(
    authority: Authority, policy: TlsPolicy, version: ssl.TLSVersion, ciphers: str | None, detail: str
) -> None:
    store = CertificateStore.load([Files(authority.issue("www.test"))], [policy])
    client = authority.client_context(version=version)
    if ciphers:
        client.set_ciphers(ciphers)
    with pytest.raises(TlsError, match=detail) as caught:
        handshake(served(store, "www.test", policy), client)
    assert caught.value.alert is not None


def test_the_default_is_served_to_a_client_without_a_name(authority: Authority) -> None:
    leaves = [Files(authority.issue("www.test")), Files(authority.issue("default.test"), default=True)]
    store = CertificateStore.load(leaves, [POLICY])
    choice = store.choose(None)
    assert choice is not None
    assert choice.certificates == (store.certificates[1],)
    assert store.context(None, POLICY) is store.context("other.test", POLICY)
    assert store.context("www.test", POLICY) is not store.context(None, POLICY)


def test_names_that_the_same_certificates_serve_share_a_context(authority: Authority) -> None:
    store = CertificateStore.load([Files(authority.issue("a.test", "b.test", "*.c.test"))], [POLICY])
    assert served(store, "a.test") is served(store, "b.test") is served(store, "x.c.test")


def test_nothing_is_read_after_the_start(authority: Authority) -> None:
    leaf = authority.issue("www.test")
    before = set(Path("/proc/self/fd").iterdir())
    store = CertificateStore.load([Files(leaf)], [POLICY])
    leaf.cert.unlink()
    leaf.key.unlink()
    handshake(served(store, "www.test"), authority.client_context())
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_all_that_is_wrong_is_told_at_once_with_its_place(authority: Authority, tmp_path: Path) -> None:
    good, bad = Files(authority.issue("a.test")), Files(authority.issue("b.test"))
    bad.key = good.key
    missing = Files(authority.issue("c.test"))
    missing.cert = tmp_path / "nowhere.pem"
    with pytest.raises(CertificateErrors) as caught:
        CertificateStore.load([good, bad, missing], [POLICY])
    assert [finding.path for finding in caught.value.findings] == [
        ("certificates", 1, "key"),
        ("certificates", 2, "cert"),
    ]
    first, second = str(caught.value).splitlines()
    assert first.startswith("certificates[2].key: the key in ")
    assert second == f"certificates[3].cert: no such file: {str(tmp_path / 'nowhere.pem')!r}"
    assert isinstance(caught.value, OperatorError)


def test_what_openssl_refuses_has_its_place_too(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = list(
        CertificateStore.load(
            [Files(authority.issue(name)) for name in ("a.test", "b.test")], []
        ).certificates
    )
    original = type(certificates[1])
    certificates[1] = Certificate(
        **{name: getattr(certificates[1], name) for name in original.__slots__ if name != "pem"}, pem=b"?"
    )
    with pytest.raises(CertificateErrors) as caught:
        CertificateStore(certificates, [POLICY])
    assert [finding.path for finding in caught.value.findings] == [("certificates", 1, "cert")]
    assert "OpenSSL refuses the certificate in" in str(caught.value)


def test_a_policy_knows_its_versions() -> None:
    with pytest.raises(ValueError, match="min_version"):
        TlsPolicy("1.1")


def client_session(
    sock: socket.socket, client: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    with client.wrap_socket(sock, server_hostname="www.test", session=session) as tls:
        tls.sendall(b"ping")
        assert tls.recv(100) == b"ping"  # and the tickets of TLS 1.3 came before it
        return tls.session, bool(tls.session_reused)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("other", ["same store", "another policy"])
def test_a_session_goes_on_in_another_process_and_not_under_another_policy(
    authority: Authority, version: ssl.TLSVersion, other: Literal["same store", "another policy"]
) -> None:
    second = TlsPolicy("1.2")
    store = CertificateStore.load([Files(authority.issue("www.test"))], [POLICY, second])
    client = authority.client_context(version=version)
    sock, process = in_a_fork(lambda sock: serve(served(store, "www.test"), "www.test", sock))
    session, reused = client_session(sock, client, None)
    os.waitpid(process, 0)
    assert not reused
    assert session is not None
    assert session.has_ticket
    policy = POLICY if other == "same store" else second
    sock, process = in_a_fork(lambda sock: serve(served(store, "www.test", policy), "www.test", sock))
    _, reused = client_session(sock, client, session)
    os.waitpid(process, 0)
    assert reused is (other == "same store")

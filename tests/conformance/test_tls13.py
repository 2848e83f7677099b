"""The suite's own client of TLS 1.3 against OpenSSL, in memory; and HPKE, by the vector of RFC 9180."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from spyhole.conformance import ech
from spyhole.conformance.hello import TLS13, client_hello, encode, server_name
from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.conformance.records import records
from spyhole.conformance.tls13 import Tls13Client, TlsFailure
from support.certificates import Authority


class Server:
    """OpenSSL as a server of TLS 1.3, record by record."""

    def __init__(self, authority: Authority) -> None:
        context = authority.issue("a.test").server_context(version=ssl.TLSVersion.TLSv1_3)
        context.sni_callback = lambda connection, name, _: self.names.append(name)
        self.names: list[str | None] = []
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def take(self, data: bytes) -> None:
        self.incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()

    def records(self) -> list[tuple[int, bytes, bytes]]:
        data, found = self.outgoing.read(), []
        while data:
            end = 5 + int.from_bytes(data[3:5])
            found.append((data[0], data[:5], data[5:end]))
            data = data[end:]
        return found


def handshake(server: Server, first: bytes, second: bytes) -> Tls13Client:
    client = Tls13Client()
    server.take(client.first_hello(first))
    retry = server.records()[0]
    assert retry[0] == 22
    server.take(client.second_hello(second, retry[2]))
    answer, *others = (record for record in server.records() if record[0] != 20)
    client.on_server_hello(answer[2])
    flights = [client.on_record(*record) for record in others]
    assert flights[:-1] == [None] * (len(flights) - 1)
    assert flights[-1] is not None
    server.take(flights[-1])
    return client


def test_a_handshake_with_a_second_hello(authority: Authority) -> None:
    server = Server(authority)
    client = handshake(server, b"a.test", b"a.test")
    assert server.tls.version() == "TLSv1.3"
    server.incoming.write(client.write(b"hello"))
    assert server.tls.read() == b"hello"
    server.tls.write(b"goodbye")
    assert b"".join(client.read(*record) for record in server.records()) == b"goodbye"


def test_openssl_lets_the_second_hello_name_somebody_else(authority: Authority) -> None:
    """So a proxy that terminates TLS has to look for itself."""
    server = Server(authority)
    handshake(server, b"a.test", b"b.test")
    assert server.names == ["a.test", "b.test"]


def test_an_alert_is_a_failure(authority: Authority) -> None:
    client = handshake(Server(authority), b"a.test", b"a.test")
    with pytest.raises(TlsFailure):
        client.read(21, b"\x15\3\3\0\2", b"\2\x28")


def test_hpke_is_that_of_the_rfc() -> None:
    """RFC 9180, A.1.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM, base mode."""
    sealer = ech.setup_sender(
        bytes.fromhex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"),
        bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"),
        X25519PrivateKey.from_private_bytes(
            bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736")
        ),
    )
    assert sealer.enc.hex() == "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    assert sealer.key.hex() == "4531685d41d65f03dc48f6b8302c05b0"
    assert sealer.nonce.hex() == "56d890e5accaaf011cff4b7d"
    sealed = sealer.seal(
        bytes.fromhex("436f756e742d30"),
        bytes.fromhex("4265617574792069732074727574682c20747275746820626561757479"),
    )
    assert sealed.hex() == (
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )


def test_an_encrypted_hello_shows_the_outer_name_only(oracle: OpenSsl) -> None:
    message = ech.sealed(
        lambda extension: client_hello([server_name(b"outer.test"), *TLS13, extension]),
        client_hello([server_name(b"inner.test"), *TLS13, ech.INNER], session_id=b""),
        b"outer.test",
    )
    verdict = oracle.judge(records(message))
    assert (verdict.outcome, verdict.name) == (Outcome.ACCEPTED, b"outer.test")
    assert b"inner.test" not in message
    assert encode(ech.INNER.content) == b"\1"

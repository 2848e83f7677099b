"""What newer clients send: Encrypted ClientHello, early data, pre-shared keys; and a second hello."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance import ech
from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.cases.plain import NAME
from spyhole.conformance.hello import (
    PSK_MODES,
    TLS13,
    Extension,
    Vector,
    client_hello,
    encode,
    plain,
    pre_shared_key,
    server_name,
)
from spyhole.conformance.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    record,
    records,
)
from spyhole.conformance.routes import ALPHA, BETA_NAME, GAMMA, TERMINATED_NAMES
from spyhole.conformance.tls13 import Tls13Client, TlsFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from spyhole.conformance.client import Link
    from spyhole.conformance.oracle import OpenSsl

_BETA: Final = BETA_NAME.encode()
_REQUEST: Final = b"who is there?"
_SHOWN: Final = "without the key, the name that is shown is the name (RFC 9849, 7.1)"
_EARLY: Final = "early data follows the hello at once (RFC 8446, 4.2.10), and belongs to it"
_PSK: Final = "pre_shared_key is the last extension, and needs psk_key_exchange_modes (RFC 8446, 4.2.11)"
_RETRY: Final = "a second hello names what the first one named (RFC 8446, 4.1.2)"


def cases() -> list[Case]:
    return [*_ech(), *_psk(), *_retries()]


def _case(
    name: str,
    why: str,
    *extensions: Extension,
    behind: bytes = b"",
    severity: Severity = Severity.MEDIUM,
    may_refuse: bool = False,
) -> Case:
    wire = records(encode(client_hello([server_name(NAME), *TLS13, *extensions]))) + behind
    return Case(Group.MODERN, name, why, wire, severity, server_name=NAME, may_refuse=may_refuse)


def _ech() -> Iterator[Case]:
    high = Severity.HIGH
    sealed = ech.sealed(
        lambda extension: client_hello([server_name(NAME), *TLS13, extension]),
        client_hello([server_name(_BETA), *TLS13, ech.INNER], session_id=b""),
        NAME,
    )
    yield Case(
        Group.MODERN, "Encrypted ClientHello, for another name inside", _SHOWN, records(sealed), high
    )
    yield _case("Encrypted ClientHello, GREASE", _SHOWN, ech.grease(), severity=high)
    yield _case("Encrypted ClientHello, GREASE of 8 KB", _SHOWN, ech.grease(8000), severity=high)
    malformed = "illegal_parameter or decode_error to a server that has keys (RFC 9849, 7.1); else unknown"
    yield _case("Encrypted ClientHello, the inner one in the clear", malformed, ech.INNER, may_refuse=True)
    empty = plain(0xFE0D, "encrypted_client_hello")
    yield _case("Encrypted ClientHello, empty", malformed, empty, may_refuse=True)
    cut = Extension(0xFE0D, "encrypted_client_hello", (encode(ech.grease().content)[:40],))
    yield _case("Encrypted ClientHello, cut short", malformed, cut, may_refuse=True)
    esni = plain(0xFFCE, "encrypted_server_name", bytes(366))
    yield _case("encrypted_server_name, its forerunner", _SHOWN, esni)


def _psk() -> Iterator[Case]:
    early = plain(42, "early_data")
    data = record(b"\1", CHANGE_CIPHER_SPEC, 0x0303) + record(bytes(500), APPLICATION_DATA, 0x0303)
    key = pre_shared_key()
    yield _case("a pre-shared key", _PSK, PSK_MODES, key)
    yield _case(
        "a pre-shared key of 60 KiB", "tickets may be large", PSK_MODES, pre_shared_key(bytes(60 << 10))
    )
    yield _case("a pre-shared key and early data", _EARLY, PSK_MODES, early, key, behind=data)
    yield _case("16 KiB of early data", _EARLY, PSK_MODES, early, key, behind=data * 32)
    yield _case("early data without a pre-shared key", _EARLY, early, behind=data, may_refuse=True)
    yield _case("a session ticket of TLS 1.2", "RFC 5077, 3.2", plain(35, "session_ticket", bytes(2000)))
    refused = "OpenSSL refuses it whatever keys it has"
    yield _case(
        "a pre-shared key that is not last", f"{_PSK}: {refused}", PSK_MODES, key, plain(21, "padding")
    )
    yield _case("a pre-shared key without its modes", f"{_PSK}: {refused}", key)
    yield _case("two pre-shared keys", f"{_PSK}: {refused}", PSK_MODES, key, key)
    yield _case(
        "early data with content", "RFC 8446, 4.2.10", PSK_MODES, plain(42, "early_data", b"\0"), key
    )
    cookie = Extension(44, "cookie", (Vector("cookie", 2, (bytes(64),)),))
    yield _case("a cookie that nobody gave", "RFC 8446, 4.2.2", cookie, may_refuse=True)


def _retries() -> Iterator[Case]:
    for name, second in {"the same": NAME, "somebody else": _BETA}.items():
        yield Case(
            Group.MODERN,
            f"passed through: a second hello that names {name}",
            _RETRY,
            Tls13Client().first_hello(NAME),
            Severity.HIGH,
            script=_passed_through(second),
            backends=frozenset({ALPHA}),
            may_refuse=second != NAME,
        )
    gamma, delta = (name.encode() for name in TERMINATED_NAMES)
    for name, second in {"the same": gamma, "somebody else": delta}.items():
        yield Case(
            Group.MODERN,
            f"terminated: a second hello that names {name}",
            _RETRY,
            Tls13Client().first_hello(gamma),
            # one who goes by the second name throughout is wrong, and need not be unsafe
            Severity.MEDIUM,
            script=_terminated(gamma, second),
            backends=frozenset({GAMMA}),
            may_refuse=second != gamma,
            terminates=True,
        )


def _passed_through(second: bytes) -> Callable[[Link, OpenSsl], Awaitable[None]]:
    """The backend answers the first hello as OpenSSL does: it asks for another."""

    async def script(link: Link, oracle: OpenSsl) -> None:
        client = Tls13Client()
        first = client.first_hello(NAME)
        link.send(first)
        await link.decision()
        backend = link.backend
        if backend is None:
            return
        if not await link.arrives(first):
            link.problem = "the first hello did not arrive as it was sent"
            return
        retry = oracle.judge(first).answer
        backend.send(retry)
        if not await link.until(lambda: len(link.answer) >= len(retry) or link.ended, link.stage.patience):
            link.problem = "the HelloRetryRequest did not come"
            return
        size = int.from_bytes(retry[3:5])
        again = client.second_hello(second, retry[5 : 5 + size])
        link.send(again)
        # a proxy that reads on, and ends it for what it sees, may do so
        await backend.until(
            lambda: backend.ended or len(backend.received) >= len(first + again), link.stage.patience
        )
        if not backend.ended and bytes(backend.received) != first + again:
            link.problem = "the second hello did not arrive as it was sent"

    return script


def _terminated(first: bytes, second: bytes) -> Callable[[Link, OpenSsl], Awaitable[None]]:
    """The proxy asks for another hello. If it takes it, the handshake is gone through with, so that it
    shows to whom the connection is given."""

    async def script(link: Link, _: OpenSsl) -> None:
        client = Tls13Client()
        stream = _Records(link)
        try:
            link.send(client.first_hello(first))
            retry = await stream.message()
            link.send(client.second_hello(second, retry))
            client.on_server_hello(await stream.message())
            flight = None
            while flight is None:
                flight = client.on_record(*await stream.record())
            link.send(flight + client.write(_REQUEST))
            await stream.greeting(client)
        except TlsFailure as failure:
            link.problem = str(failure)

    return script


class _Records:
    """The records that come from a proxy that serves TLS."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._at = 0

    async def message(self) -> bytes:
        """The next record that holds a handshake message in the clear: its content."""
        kind, _, body = await self.record()
        while kind == CHANGE_CIPHER_SPEC:
            kind, _, body = await self.record()
        if kind != HANDSHAKE:
            raise TlsFailure("" if kind == ALERT else f"a record of type {kind}")
        return body

    async def record(self) -> tuple[int, bytes, bytes]:
        """The next record: type, header, content."""
        self._link.consumed = self._at
        head = await self._read(5)
        return head[0], head, await self._read(int.from_bytes(head[3:5]))

    async def greeting(self, client: Tls13Client) -> None:
        """Wait until the backend greets, under TLS; the link then knows where it was routed."""
        link = self._link
        data = b""
        while link.backend is None:
            data += client.read(*await self.record())
            link.routed_to(link.stage.backends.greeted(data))
        if not await link.arrives(_REQUEST):
            link.problem = "the request did not arrive as it was sent"

    async def _read(self, size: int) -> bytes:
        link, end = self._link, self._at + size
        await link.until(lambda: len(link.received) >= end or link.ended, link.stage.longest)
        data = bytes(link.received[self._at : end])
        if len(data) < size:
            raise TlsFailure("")
        self._at = end
        return data

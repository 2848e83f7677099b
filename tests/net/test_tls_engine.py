"""The TLS engine against Python's own TLS client, in memory: laws, stories, then `openssl s_client`."""

from __future__ import annotations

import contextlib
import gc
import itertools
import shutil
import socket
import ssl
import subprocess
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.net import tls
from spyhole.net.tls import TlsEngine, TlsError, TlsTruncated, prepare_context
from support.deviant import Tls13Writer
from support.openssl import ALERT_OF_BAD_RECORD, BAD_RECORD

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TypeAlias

    Readable: TypeAlias = bytes | bytearray | memoryview

NAME = b"www.example.com"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert(NAME.decode(), "api.example.com", key_type=trustme.KeyType.ECDSA)

both_versions = pytest.mark.parametrize("version", VERSIONS, ids=["tls1.2", "tls1.3"])


def server_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if version is not None:
        context.minimum_version = context.maximum_version = version
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["h2", "http/1.1"])
    CERTIFICATE.configure_cert(context)
    prepare_context(context)
    return context


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    AUTHORITY.configure_trust(context)
    return context


SERVER_CONTEXTS = {version: server_context(version) for version in VERSIONS}
CLIENT_CONTEXTS = {version: client_context(version) for version in VERSIONS}


class Client:
    """Python's TLS client over memory BIOs. `sent` is ciphertext that the server has not had yet."""

    def __init__(
        self,
        context: ssl.SSLContext,
        name: str | None = NAME.decode(),
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.plaintext = bytearray()
        self.peer_closed = False

    def handshake(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> None:
        """Read everything there is."""
        try:
            while data := self.tls.read(65_536):
                self.plaintext += data
            self.peer_closed = True
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        except ssl.SSLWantReadError:
            pass

    def close(self) -> None:
        self.read()  # or OpenSSL's second SSL_shutdown would meet the data
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()


def pump(engine: TlsEngine, client: Client) -> None:
    """Carry the bytes until the handshake is done on both sides."""
    for _ in range(6):
        client_done = client.handshake()
        try:
            engine_done = engine.handshake(client.outgoing.read())
        finally:
            client.incoming.write(engine.take())
        if client_done and engine_done:
            return
    pytest.fail("the handshake does not end")


def connected(version: ssl.TLSVersion) -> tuple[TlsEngine, Client]:
    engine = TlsEngine(SERVER_CONTEXTS[version], server_name=NAME)
    client = Client(CLIENT_CONTEXTS[version])
    pump(engine, client)
    return engine, client


def read_all(engine: TlsEngine, received: Readable = b"", size: int = 65_536) -> bytes:
    """Everything that the engine has, with what it `received` now, by a buffer of `size` bytes."""
    buffer, data = memoryview(bytearray(size)), bytearray()
    while count := engine.read_into(buffer, received):
        data += buffer[:count]
        received = b""
    return bytes(data)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({c % (len(data) + 1) for c in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


# laws


@given(
    version=st.sampled_from(VERSIONS),
    messages=st.lists(st.integers(1, 40_000), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 200_000), max_size=8),
    size=st.sampled_from([1, 100, 16_383, 16_384, 65_536]),
)
@settings(deadline=None, max_examples=60)
def test_any_cut_of_the_ciphertext_and_any_buffer_give_the_same_plaintext(
    version: ssl.TLSVersion, messages: list[int], cuts: list[int], size: int
) -> None:
    engine, client = connected(version)
    size = max(size, sum(messages) // 2000)  # a byte at a time is one of the cases, not all of the time
    expected = bytearray()
    for number, length in enumerate(messages):
        expected += bytes([number + 1]) * length
        client.tls.write(bytes([number + 1]) * length)
    client.close()
    received = bytearray()
    for piece in cut(client.outgoing.read(), cuts):
        received += read_all(engine, piece, size)
    engine.receive_eof()
    assert received == expected
    assert engine.peer_closed
    assert read_all(engine) == b""  # the FIN after a close_notify is a clean end

    for number, length in enumerate(messages):
        engine.write(memoryview(bytes([number + 1]) * length))
    engine.send_close_notify()
    for piece in cut(engine.take(), cuts):
        client.incoming.write(piece)
        client.read()
    assert client.plaintext == expected
    assert client.peer_closed


STEPS = st.one_of(
    st.tuples(st.sampled_from(["client writes", "engine writes"]), st.integers(1, 20_000)),
    st.tuples(st.sampled_from(["to engine", "to client"]), st.integers(1, 30_000)),
    st.tuples(st.just("engine reads"), st.integers(1, 20_000)),
    st.tuples(st.sampled_from(["client closes", "engine closes"]), st.just(0)),
)


@given(version=st.sampled_from(VERSIONS), steps=st.lists(STEPS, max_size=30))
@settings(deadline=None, max_examples=200)
def test_nothing_is_lost_whatever_the_order_of_writes_reads_and_half_closes(
    version: ssl.TLSVersion, steps: list[tuple[str, int]]
) -> None:
    engine, client = connected(version)
    to_engine, to_client = bytearray(), bytearray()
    client_wrote, engine_wrote, engine_read = bytearray(), bytearray(), bytearray()
    client_closed = False
    for number, (step, size) in enumerate([*steps, ("engine closes", 0), ("client closes", 0)]):
        data = bytes([number % 251]) * size
        if step == "client writes" and not client_closed:
            client.tls.write(data)
            client_wrote += data
        elif step == "engine writes" and not engine.closed:
            engine.write(data)
            engine_wrote += data
        elif step == "client closes" and not client_closed:
            client.close()
            client_closed = True
        elif step == "engine closes":
            engine.send_close_notify()
        elif step in ("engine reads", "to engine"):
            buffer = memoryview(bytearray(size))
            received = to_engine[:size] if step == "to engine" else b""
            engine_read += buffer[: engine.read_into(buffer, received)]
            del to_engine[: len(received)]
        to_engine += client.outgoing.read()
        to_client += engine.take()
        if step == "to client":
            client.incoming.write(to_client[:size])
            del to_client[:size]
            client.read()
    engine.receive_eof()
    engine_read += read_all(engine, to_engine)
    client.incoming.write(to_client)
    client.incoming.write(engine.take())
    client.read()
    assert engine_read == client_wrote
    assert client.plaintext == engine_wrote
    assert engine.peer_closed
    assert client.peer_closed


DEEDS = ["goes on", "goes on", "says", "says", "answers", "reads a little", "falls silent", "lies"]
TURNS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(DEEDS), st.integers(1, 40_000)), max_size=40)


@given(turns=TURNS)
@settings(deadline=None, max_examples=200)
def test_engines_that_take_turns_hear_nothing_of_each_other(turns: list[tuple[int, str, int]]) -> None:
    """They share their memory BIOs: nothing is left there, whoever fails, and whatever one did not read."""
    buffer = memoryview(bytearray(65_536))
    ends = [
        (TlsEngine(SERVER_CONTEXTS[version], server_name=NAME), Client(CLIENT_CONTEXTS[version]))
        for version in (*VERSIONS, VERSIONS[-1])
    ]
    shaken, dead = [False] * 3, [False] * 3
    said, heard = [bytearray() for _ in ends], [bytearray() for _ in ends]
    answered = [bytearray() for _ in ends]
    for who, what, size in turns:
        engine, client = ends[who]
        data = bytes([who + 1]) * size
        if dead[who]:
            continue
        try:
            if not shaken[who]:
                finished = client.handshake()
                if what == "falls silent":
                    engine.receive_eof()
                    dead[who] = True
                shaken[who] = engine.handshake(client.outgoing.read()) and finished
            elif what == "says":
                client.tls.write(data)
                said[who] += data
                count = engine.read_into(buffer, client.outgoing.read())
                heard[who] += buffer[:count]
            elif what == "reads a little":
                heard[who] += buffer[: engine.read_into(buffer[: size % 100 + 1])]
            elif what == "answers":
                engine.write(data)
                answered[who] += data
            elif what == "lies":
                engine.read_into(buffer, b"\x17\x03\x03\x00\x20" + bytes(32) + data)
        except TlsError:
            dead[who] = True
            engine.take()
        else:
            client.incoming.write(engine.take())
        assert tls._shared.incoming.pending == tls._shared.outgoing.pending == 0
    for who, (engine, client) in enumerate(ends):
        if shaken[who] and not dead[who]:
            assert heard[who] + read_all(engine) == said[who]
            client.read()
            assert client.plaintext == answered[who]


def test_what_a_call_that_failed_left_behind_is_nobodys() -> None:
    (one, _), (other, client) = connected(VERSIONS[0]), connected(VERSIONS[1])
    tls._shared.incoming.write(b"no memory to take it out")
    tls._shared.outgoing.write(b"nor this")
    client.tls.write(b"question")
    assert read_all(other, client.outgoing.read()) == b"question"
    other.write(b"answer")
    client.incoming.write(other.take())
    client.read()
    assert client.plaintext == b"answer"
    assert one.take() == b""


def test_an_engine_that_got_no_memory_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left lies in the shared BIO, and there is no memory to take it out at once."""

    class Scarce:
        def __init__(self, bio: ssl.MemoryBIO) -> None:
            self.bio = bio

        def __getattr__(self, name: str) -> Any:
            return getattr(self.bio, name)

        def read(self, size: int = -1) -> bytes:
            if (self.bio.pending if size < 0 else size) > 20_000:
                raise MemoryError
            return self.bio.read(size)

    (one, _), (other, client) = connected(VERSIONS[1]), connected(VERSIONS[1])
    for engine in (one, other):
        monkeypatch.setattr(engine, "_outgoing", Scarce(engine._outgoing))
    with pytest.raises(MemoryError):
        one.write(bytes(60_000))
    other.write(b"answer")
    client.incoming.write(other.take())
    client.read()
    assert client.plaintext == b"answer"


def test_each_thread_has_its_own_memory_bios() -> None:
    with ThreadPoolExecutor(1) as another:
        assert another.submit(lambda: tls._shared.incoming).result() is not tls._shared.incoming


@given(
    garbage=st.binary(min_size=1, max_size=400),
    prefix=st.sampled_from([b"", b"\x16\x03\x01", b"\x16\x03\x03\x00"]),
)
@settings(deadline=None)
def test_garbage_in_the_handshake_is_a_tls_error_or_a_wish_for_more(garbage: bytes, prefix: bytes) -> None:
    engine = TlsEngine(SERVER_CONTEXTS[ssl.TLSVersion.TLSv1_3], server_name=NAME)
    engine.receive_eof()
    with pytest.raises(TlsError) as caught:
        engine.handshake(prefix + garbage)
    assert caught.value.detail
    alert = engine.take()
    assert caught.value.alert == (alert[-1] if alert else None)


@both_versions
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=60)
def test_one_flipped_bit_never_passes(version: ssl.TLSVersion, position: int, bit: int) -> None:
    engine, client = connected(version)
    client.tls.write(b"first")
    first = client.outgoing.read()
    client.tls.write(b"second" * 100)
    record = bytearray(client.outgoing.read())
    record[position % len(record)] ^= 1 << bit
    engine.receive_eof()  # a length that grew is a record that never ends
    buffer = memoryview(bytearray(1000))
    assert engine.read_into(buffer, first + record) == 5
    with pytest.raises(TlsError):
        engine.read_into(buffer)


# stories: the handshake


@both_versions
def test_the_handshake_tells_what_was_negotiated(version: ssl.TLSVersion) -> None:
    context = client_context(version)
    context.set_alpn_protocols(["http/1.1"])
    engine, client = TlsEngine(server_context(version), server_name=NAME), Client(context)
    assert engine.version is None
    assert engine.cipher is None
    pump(engine, client)
    assert engine.version == client.tls.version()
    assert engine.cipher == client.tls.cipher()[0]
    assert engine.alpn == "http/1.1"
    assert not engine.session_reused


@both_versions
def test_a_session_is_resumed_and_the_name_is_checked_then_too(version: ssl.TLSVersion) -> None:
    context, client_side = server_context(version), client_context(version)
    engine, first = TlsEngine(context, server_name=NAME), Client(client_side)
    pump(engine, first)
    first.read()  # the tickets of TLS 1.3
    engine, client = TlsEngine(context, server_name=NAME), Client(client_side, session=first.tls.session)
    pump(engine, client)
    assert engine.session_reused
    engine = TlsEngine(context, server_name=b"other.example.com")
    client = Client(client_side, session=first.tls.session)
    client.handshake()
    with pytest.raises(TlsError, match="another server name"):
        engine.handshake(client.outgoing.read())


@both_versions
@pytest.mark.parametrize(
    ("routed", "named"),
    [(b"api.example.com", NAME.decode()), (None, NAME.decode()), (NAME, None), (NAME, "WWW.example.com")],
)
def test_a_name_that_was_not_routed_is_refused(
    version: ssl.TLSVersion, routed: bytes | None, named: str | None
) -> None:
    context = client_context(version)
    context.check_hostname = False
    engine, client = TlsEngine(server_context(version), server_name=routed), Client(context, named)
    client.handshake()
    with pytest.raises(TlsError) as caught:
        engine.handshake(client.outgoing.read())
    assert caught.value.alert == ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    assert engine.take() == bytes([0x15, 3, 3, 0, 2, 2, 112])


def second_flight(engine: TlsEngine, client: Client) -> bytes:
    """What the client says once it has the server's first answer."""
    client.handshake()
    assert not engine.handshake(client.outgoing.read())
    client.incoming.write(engine.take())
    client.handshake()
    return client.outgoing.read()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("second", "alert"), [(b"api.example.com", 112), (b"w\xffw.example.com", 80)])
def test_a_second_hello_that_names_somebody_else_is_refused(second: bytes, alert: int) -> None:
    context = server_context(ssl.TLSVersion.TLSv1_3)
    context.set_ecdh_curve("secp384r1")  # the client sends a key share for X25519: HelloRetryRequest
    engine, client = TlsEngine(context, server_name=NAME), Client(client_context())
    hello = second_flight(engine, client)
    assert NAME in hello
    with pytest.raises(TlsError) as caught:
        engine.handshake(hello.replace(NAME, second))
    assert caught.value.alert == alert
    assert engine.take()[-1] == alert


def test_a_retry_with_the_same_name_goes_on() -> None:
    context = server_context(ssl.TLSVersion.TLSv1_3)
    context.set_ecdh_curve("secp384r1")
    pump(TlsEngine(context, server_name=NAME), Client(client_context()))


def test_a_context_that_checks_no_name_is_not_used() -> None:
    with pytest.raises(RuntimeError):
        TlsEngine(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), server_name=NAME)


@both_versions
def test_the_alert_of_a_client_that_does_not_trust_us_is_named(version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = version
    engine, client = TlsEngine(server_context(version), server_name=NAME), Client(context)
    with pytest.raises(ssl.SSLCertVerificationError):
        pump(engine, client)
    with pytest.raises(TlsError, match=r"^peer sent alert unknown_ca$") as caught:
        engine.handshake(client.outgoing.read())
    assert caught.value.peer_alert == "unknown_ca"
    assert caught.value.alert is None


def test_a_version_in_common_is_needed() -> None:
    client = Client(CLIENT_CONTEXTS[ssl.TLSVersion.TLSv1_2])
    engine = TlsEngine(SERVER_CONTEXTS[ssl.TLSVersion.TLSv1_3], server_name=NAME)
    client.handshake()
    with pytest.raises(TlsError, match="unsupported protocol") as caught:
        engine.handshake(client.outgoing.read())
    assert caught.value.alert == ssl.ALERT_DESCRIPTION_PROTOCOL_VERSION


@both_versions
def test_a_broken_finished_is_answered_with_an_alert(version: ssl.TLSVersion) -> None:
    engine, client = TlsEngine(SERVER_CONTEXTS[version], server_name=NAME), Client(CLIENT_CONTEXTS[version])
    flight = bytearray(second_flight(engine, client))
    flight[-1] ^= 1
    with pytest.raises(TlsError, match=BAD_RECORD) as caught:
        engine.handshake(flight)
    # of TLS 1.2 it is in the clear
    known = version is VERSIONS[0] and ssl.ALERT_DESCRIPTION_BAD_RECORD_MAC
    assert caught.value.alert == (known or ALERT_OF_BAD_RECORD)
    assert engine.pending > 0
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        client.incoming.write(engine.take()), client.tls.do_handshake(), client.tls.read(1)


@pytest.mark.parametrize(
    ("version", "flights", "alert"),
    [
        (VERSIONS[0], 0.5, "decode_error"),
        (VERSIONS[0], 1, "decode_error"),
        (VERSIONS[1], 0.5, "decode_error"),
        (VERSIONS[1], 1, "unexpected_message"),
        (VERSIONS[1], 1.5, "bad_record_mac"),
    ],
)
def test_the_end_of_the_stream_in_the_handshake_is_a_truncation(
    version: ssl.TLSVersion, flights: float, alert: str
) -> None:
    engine, client = TlsEngine(SERVER_CONTEXTS[version], server_name=NAME), Client(client_context())
    while flights > 0:
        client.handshake()
        flight = client.outgoing.read()
        assert not engine.handshake(flight if flights >= 1 else flight[: len(flight) // 2])
        client.incoming.write(engine.take())
        flights -= 1
    engine.receive_eof()
    with pytest.raises(TlsTruncated, match="during the handshake") as caught:
        engine.handshake()
    if alert == "bad_record_mac":
        assert caught.value.alert == ALERT_OF_BAD_RECORD
    else:
        assert caught.value.alert == ssl.AlertDescription[f"ALERT_DESCRIPTION_{alert.upper()}"]
    client.incoming.write(engine.take())
    with pytest.raises(ssl.SSLError, match=f"(?i)alert_{alert}|alert {alert.replace('_', ' ')}"):
        client.tls.do_handshake(), client.tls.read(1)
    with pytest.raises(TlsTruncated):
        engine.read_into(memoryview(bytearray(100)))


@pytest.mark.parametrize("version", [VERSIONS[0], "a second hello"], ids=str)
def test_wherever_the_stream_ends_in_the_clear_nothing_follows_but_an_alert(
    version: ssl.TLSVersion | str,
) -> None:
    """Least of all an answer to a message that is not all the client's."""
    if isinstance(version, str):
        context = server_context(VERSIONS[1])
        context.set_ecdh_curve("secp384r1")  # for which no client has a key share at hand
    else:
        context = SERVER_CONTEXTS[version]
    size = 1000
    at = 1
    while at < size:
        engine, client = TlsEngine(context, server_name=NAME), Client(client_context())
        flight = second_flight(engine, client)
        # a change_cipher_spec ends what is in the clear
        size = flight.find(b"\x14\3\3\0\1\1") if version is VERSIONS[0] else len(flight)
        engine.receive_eof()
        with pytest.raises(TlsTruncated) as caught:
            engine.handshake(flight[:at])
        assert caught.value.alert == ssl.ALERT_DESCRIPTION_DECODE_ERROR
        assert engine.take() == bytes.fromhex("15030300020232")
        assert not engine._unread
        at += 1
    assert size > 40


# stories: the end


@both_versions
def test_the_peer_closes_first_and_we_still_write(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.tls.write(b"request")
    client.close()
    engine.receive_eof()
    assert read_all(engine, client.outgoing.read()) == b"request"
    assert engine.peer_closed
    engine.write(b"answer" * 10_000)
    engine.send_close_notify()
    client.incoming.write(engine.take())
    client.read()
    assert client.plaintext == b"answer" * 10_000
    assert client.peer_closed


@both_versions
def test_we_close_first_with_data_unread_and_the_peer_still_writes(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.tls.write(b"a" * 20_000)
    sent = client.outgoing.read()
    buffer = memoryview(bytearray(1000))
    assert engine.read_into(buffer, sent[:-10]) == 1000  # of two records, the second not whole
    engine.send_close_notify()
    engine.send_close_notify()
    client.incoming.write(engine.take())
    client.read()
    assert client.peer_closed
    client.tls.write(b"b" * 1000)
    client.close()
    assert read_all(engine, sent[-10:] + client.outgoing.read()) == b"a" * 19_000 + b"b" * 1000
    assert engine.peer_closed
    assert engine.take() == b""
    with pytest.raises(RuntimeError):
        engine.write(b"too late")


@both_versions
def test_a_record_larger_than_the_buffer_is_read_to_its_end(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.tls.write(b"x" * 1000)
    assert read_all(engine, client.outgoing.read(), 300) == b"x" * 1000


@both_versions
def test_a_part_of_a_record_and_a_fin_are_a_truncation(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.tls.write(b"lost")
    engine.receive_eof()
    with pytest.raises(TlsTruncated):
        engine.read_into(memoryview(bytearray(100)), client.outgoing.read()[:-1])


@both_versions
def test_what_came_before_a_truncation_is_read_first(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.tls.write(b"part")
    client.tls.write(b"lost")
    engine.receive_eof()
    buffer = memoryview(bytearray(100))
    assert engine.read_into(buffer, client.outgoing.read()[:-1]) == 4
    for _ in range(2):
        with pytest.raises(TlsTruncated, match="without close_notify"):
            engine.read_into(buffer)


@both_versions
def test_a_truncation_is_one_also_where_openssl_is_told_to_ignore_it(version: ssl.TLSVersion) -> None:
    context = server_context(version)
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    engine, client = TlsEngine(context, server_name=NAME), Client(client_context())
    pump(engine, client)
    engine.receive_eof()
    with pytest.raises(TlsTruncated):
        read_all(engine)


@both_versions
def test_a_bad_record_comes_after_the_good_ones_and_is_answered(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.tls.write(b"good")
    good = client.outgoing.read()
    client.tls.write(b"bad")
    record = bytearray(client.outgoing.read())
    record[-1] ^= 1
    buffer = memoryview(bytearray(100))
    assert engine.read_into(buffer, good + record) == 4
    with pytest.raises(TlsError) as caught:
        engine.read_into(buffer)
    assert caught.value.detail == BAD_RECORD
    assert caught.value.alert == ALERT_OF_BAD_RECORD
    client.incoming.write(engine.take())
    engine.send_close_notify()
    assert engine.take() == b""  # nothing to say any more, and no error
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        client.tls.read(1)


def test_a_close_notify_behind_a_user_canceled_is_an_end_like_any_other(tmp_path: Path) -> None:
    """Java says both whenever it closes; OpenSSL from 3.2 on then says "EOF" (openssl/openssl#25254)."""
    context = client_context(VERSIONS[1])
    context.keylog_filename = str(tmp_path / "keys")
    engine, client = TlsEngine(SERVER_CONTEXTS[VERSIONS[1]], server_name=NAME), Client(context)
    pump(engine, client)
    writer = Tls13Writer(client.tls, tmp_path / "keys", "CLIENT_TRAFFIC_SECRET_0")
    words = writer.application_data(b"words")
    canceled, closed = writer.record(b"\1\x5a", 21), writer.record(b"\1\0", 21)
    assert read_all(engine, words + canceled) == b"words"
    assert not engine.peer_closed
    assert read_all(engine, closed) == b""
    assert engine.peer_closed
    engine.receive_eof()
    assert read_all(engine) == b""
    engine.write(b"and we still write")
    client.incoming.write(engine.take())
    client.read()
    assert client.plaintext == b"and we still write"


def test_a_key_update_after_our_close_notify_is_followed_and_not_answered(tmp_path: Path) -> None:
    """There would be nobody to send the answer to (RFC 8446, 6.1)."""
    context = client_context(VERSIONS[1])
    context.keylog_filename = str(tmp_path / "keys")
    engine, client = TlsEngine(SERVER_CONTEXTS[VERSIONS[1]], server_name=NAME), Client(context)
    pump(engine, client)
    engine.send_close_notify()
    assert engine.take()
    writer = Tls13Writer(client.tls, tmp_path / "keys", "CLIENT_TRAFFIC_SECRET_0")
    for words in (b"some ", b"words "):
        assert read_all(engine, writer.key_update() + writer.key_update()) == b""
        assert read_all(engine, writer.application_data(words)) == words
        assert engine.take() == b""
    assert read_all(engine, writer.record(b"\1\0", 21)) == b""
    assert engine.peer_closed


@both_versions
def test_data_after_the_peers_close_notify_is_ignored_and_not_kept(version: ssl.TLSVersion) -> None:
    engine, client = connected(version)
    client.close()
    assert read_all(engine, client.outgoing.read()) == b""
    assert engine.peer_closed
    assert read_all(engine, b"\x17\x03\x03\x00\x20" + bytes(32)) == b""
    assert engine._unread == b""


def test_an_engine_is_freed_without_the_collector() -> None:
    gc.disable()
    try:
        engine, _ = connected(ssl.TLSVersion.TLSv1_3)
        engine.receive_eof()
        with pytest.raises(TlsTruncated):
            read_all(engine)
        watched = weakref.ref(engine)
        del engine
        assert watched() is None
    finally:
        gc.enable()


# the wishes of `openssl s_client`, which Python's client can't utter


def converse(path: str, flag: str, key: bytes) -> tuple[bytes, TlsEngine]:
    """Let `openssl s_client` send "before", a key command and "after": what the engine read."""
    engine = TlsEngine(server_context(), server_name=NAME)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        client = subprocess.Popen(
            ["openssl", "s_client", flag, "-unix", path, "-servername", NAME.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        sock, _ = listener.accept()
    assert client.stdin is not None
    sock.settimeout(60)
    received, lines, done = bytearray(), [b"before\n", key, b"after\n"], False
    with client, sock:
        try:
            while (data := sock.recv(65_536)) and not engine.peer_closed:
                if done:
                    received += read_all(engine, data)
                    engine.write(b"answered\n")  # what a key update asks for goes out before this
                done = done or engine.handshake(data)
                sock.sendall(engine.take())
                # a line for each thing that comes: the key is a command only if it is read by itself
                if lines and done:
                    client.stdin.write(lines.pop(0))
                elif received.endswith(b"after\n"):
                    client.stdin.close()
        finally:
            client.kill()
    return bytes(received), engine


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


@needs_openssl
@pytest.mark.parametrize("key", [b"K\n", b"k\n"], ids=["answer asked for", "one way"])
def test_a_key_update_is_followed(tmp_path: Path, key: bytes) -> None:
    received, engine = converse(str(tmp_path / "socket"), "-tls1_3", key)
    assert received == b"before\nafter\n"
    assert engine.peer_closed


@needs_openssl
def test_renegotiation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="peer sent alert handshake_failure"):
        converse(str(tmp_path / "socket"), "-tls1_2", b"R\n")

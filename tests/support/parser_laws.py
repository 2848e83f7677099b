"""The laws of the ClientHello parser, to be held against any bytes: by tests, and by the fuzzer.

`assert_same_however_cut`: any split of the same bytes gives the same answer, one of those declared.
`assert_agreement`: the rule in `spyhole.wire.client_hello`, with OpenSSL itself as the judge.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import (
    ClientHello,
    ClientHelloError,
    ClientHelloParser,
    Fault,
    NeedMore,
    NotTls,
)
from spyhole.wire.message import take_apart
from support.openssl import LATER

Answer = ClientHello | NotTls | ClientHelloError | None

# Ours before OpenSSL's: caps, and what is told at a record's header instead of at its end.
EARLIER = {Fault.HELLO_TOO_LARGE, Fault.RECORD_OVERFLOW, Fault.UNEXPECTED_RECORD}
# Refused by a server that does not know the key offered; one that does would go on.
NEEDS_A_SESSION = {"MISSING_SIGALGS_EXTENSION", "NO_SUITABLE_KEY_SHARE"}
# Where a later OpenSSL than 3.0 has another alert, and what it looks at besides, or no more.
OTHER_ALERT_LATER = {Fault.NO_CIPHERS, Fault.NO_NULL_COMPRESSION, Fault.BAD_KEY_SHARE}
REFUSED_LATER = {"BAD_KEY_SHARE", "BAD_ECPOINT", "BAD_EXTENSION"}


def answer(*segments: bytes, max_size: int = 65_536) -> Answer:
    """What the parser says of these segments; None while it needs more."""
    parser = ClientHelloParser(max_size=max_size)
    for segment in segments:
        try:
            said = parser.feed(segment)
        except ClientHelloError as error:
            return error
        if not isinstance(said, NeedMore):
            return said
    return None


def comparable(said: Answer) -> object:
    """What has to be equal in two answers that are the same."""
    if isinstance(said, ClientHello):
        return said.server_name, said.alpn, said.versions, said.raw
    if isinstance(said, ClientHelloError):
        return said.reason, said.alert, said.detail, said.offset, said.extension, said.server_name
    return None if said is None else type(said)


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at these places (modulo its length)."""
    edges = [0, *sorted(i % (len(data) + 1) for i in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def assert_same_however_cut(wire: bytes, at: Iterable[int]) -> Answer:
    """Fed whole and in the pieces of a cut, the parser gives the same declared answer; that answer."""
    whole = answer(wire)
    assert comparable(answer(*cut(wire, at))) == comparable(whole), wire.hex()
    assert_declared(whole)
    return whole


def assert_declared(said: Answer) -> None:
    """It is one of the answers that the parser declares, and an error says what is wrong."""
    assert said is None or isinstance(said, ClientHello | NotTls | ClientHelloError)
    if isinstance(said, ClientHelloError):
        assert said.reason in Fault
        assert said.alert in Alert
        assert str(said)
        assert not str(said)[0].isupper() or str(said).startswith(("SSL", "TLS"))


def assert_agreement(oracle: OpenSsl, wire: bytes) -> None:
    """Raises AssertionError with both verdicts and the bytes where the rule is broken."""
    theirs = oracle.judge(wire)
    ours = answer(wire)
    context = (theirs, ours, wire.hex())
    fault = ours.reason if isinstance(ours, ClientHelloError) else None
    if fault is Fault.SSLV2_HELLO:
        return  # the one exception by choice
    if isinstance(ours, NotTls):  # said at the first byte that is wrong; OpenSSL reads on
        assert theirs.outcome in {Outcome.WAITING, Outcome.REFUSED}, context
        assert wire[0] not in range(20, 25) or wire[1] != 3, context
        return
    if isinstance(ours, ClientHello) and theirs.seen:
        assert ours.server_name == theirs.name, context
    if theirs.outcome is Outcome.ACCEPTED:
        assert isinstance(ours, ClientHello) or (LATER and fault is Fault.BAD_KEY_SHARE), context
    elif theirs.outcome is Outcome.WAITING:
        assert ours is None or fault in EARLIER, context
    elif theirs.outcome is Outcome.REFUSED:
        if isinstance(ours, ClientHello):
            if LATER and theirs.reason in REFUSED_LATER:
                return
            assert theirs.reason in NEEDS_A_SESSION, context
            assert any(e.kind == 41 for e in take_apart(ours.raw).extensions), context
        else:
            assert isinstance(ours, ClientHelloError), context
            later = LATER and (fault in OTHER_ALERT_LATER or theirs.reason in REFUSED_LATER)
            assert ours.alert == theirs.alert or fault is Fault.HELLO_TOO_LARGE or later, context
    else:  # it stopped before it had looked at everything
        assert isinstance(ours, ClientHello | ClientHelloError), context

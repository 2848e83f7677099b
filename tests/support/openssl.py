"""OpenSSL as the oracle for a ClientHello: what a server that takes everything makes of the same bytes.

oracle = OpenSsl(directory)
verdict = oracle.judge(wire)            # wire: what the client sends, from its first byte
verdict.name, verdict.alert, verdict.outcome
"""

from __future__ import annotations

import ssl
import sys
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from support.certificates import Authority


class Outcome(Enum):
    ACCEPTED = "accepted"  # it answered with its own hello, or asked for another key share
    REFUSED = "refused"  # as malformed, whatever its configuration
    UNSUITED = "unsuited"  # well formed, but this server and this client have nothing in common
    UNDECIDED = "undecided"  # internal_error: Python could not decode the name, or OpenSSL gave up
    WAITING = "waiting"  # for more bytes


# Reasons that lie in the server's configuration, or in a session it does not have.
UNSUITED = {
    "NO_SHARED_CIPHER",
    "NO_SUITABLE_SIGNATURE_ALGORITHM",
    "NO_SHARED_SIGNATURE_ALGORITHMS",
    "UNSUPPORTED_PROTOCOL",
    "INAPPROPRIATE_FALLBACK",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`name` is what OpenSSL reports when it got that far; `seen` says whether it did."""

    outcome: Outcome
    seen: bool
    name: bytes | None
    alert: int | None
    reason: str | None


class OpenSsl:
    """A server with an RSA and an ECDSA certificate, TLS 1.0 to 1.3, every cipher, no security level."""

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory)
        self._context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        for key in ("rsa", "ecdsa"):
            leaf = authority.issue("oracle.test", key=key)
            context.load_cert_chain(leaf.cert, leaf.key)
        context.sni_callback = self._on_name
        self._names: list[bytes | None] = []

    def judge(self, wire: bytes) -> Verdict:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(wire)
        connection = self._context.wrap_bio(incoming, outgoing, server_side=True)
        self._names.clear()
        reason = None
        hook, sys.unraisablehook = sys.unraisablehook, self._on_undecodable
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            reason = error.reason or str(error)
        finally:
            sys.unraisablehook = hook
        seen = bool(self._names)
        name = self._names[0] if seen else None
        answer = outgoing.read()
        alert = answer[6] if answer[:1] == b"\x15" else None
        if answer and alert is None:
            outcome = Outcome.ACCEPTED  # an error may follow, but of what comes after the hello
        elif alert == 80:
            outcome = Outcome.UNDECIDED
        elif reason is None:
            outcome = Outcome.WAITING
        elif reason in UNSUITED or (reason == "NO_SUITABLE_KEY_SHARE" and alert == 40):
            outcome = Outcome.UNSUITED
        else:
            outcome = Outcome.REFUSED
        return Verdict(outcome, seen, name, alert, reason)

    def _on_name(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self._names.append(None if name is None else name.encode("ascii"))

    def _on_undecodable(self, unraisable: object) -> None:
        # a name outside ASCII never reaches the callback; the hook is shown its bytes
        self._names.append(bytes(unraisable.object))  # type: ignore[attr-defined]

"""The two forms of an access log line. `docs/access-log.md` documents every key.

A line never has a control character in it, whatever a peer sent, and never more than `MAX_LINE` bytes: so
much goes to a pipe in one piece (PIPE_BUF), and workers' lines can't interleave there.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Final

from spyhole.outcome import Reason
from spyhole.wire.alerts import Alert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spyhole.observe.record import ConnectionRecord

MAX_LINE: Final = 4096
"""Bytes of the longest line, its newline included."""

MAX_TEXT: Final = 255
"""Characters (of a server name: bytes) of one value that are written; `…(+N)` says how many were not."""

MAX_LISTED: Final = 8
"""Entries of `alpn` and `tls_versions` that are written; `…(+N)` says how many were not."""

_VERSIONS: Final = {0x0304: "1.3", 0x0303: "1.2", 0x0302: "1.1", 0x0301: "1.0", 0x0300: "ssl3"}
_ALERTS: Final = {alert.value: alert.name.lower() for alert in Alert}


def json_line(record: ConnectionRecord) -> bytes:
    """One JSON object, ASCII only, its keys always all there and in this order; null where not known."""
    line = _json(record, MAX_TEXT)
    for limit in (64, 20):
        if len(line) <= MAX_LINE:
            break
        line = _json(record, limit)
    return line.encode("ascii")


def human_line(record: ConnectionRecord) -> bytes:
    """One line for people at a terminal, in local time, UTF-8; what is not printable is escaped."""
    line = _human(record, MAX_TEXT).encode()
    for limit in (64, 20):
        if len(line) <= MAX_LINE:
            break
        line = _human(record, limit).encode()
    return line


def _json(record: ConnectionRecord, limit: int) -> str:
    # One f-string of pieces that are JSON already: a third of what json.dumps of a dict costs.
    seconds, ms = divmod(int(record.started * 1000), 1000)
    greeting = record.greeting
    if greeting is None:
        alpn = versions = fingerprint = "null"
    else:
        alpn = _alpn(greeting.alpn, limit) if greeting.alpn else "[]"
        versions = _versions(greeting.versions)
        fingerprint = quoted(greeting.ja4)
    # bytes as Latin-1: one character for each byte, so the name can be had back exactly
    name = None if record.server_name is None else _cut_name(record.server_name, limit)
    alert = record.alert
    version = record.tls_version
    return (
        f'{{"time":"{utc(seconds)}.{ms:03d}Z"'
        f',"client":{_text(record.client, limit)}'
        f',"listener":{_text(record.listener, limit)}'
        f',"server_name":{"null" if name is None else quoted(name)}'
        f',"alpn":{alpn}'
        f',"tls_versions":{versions}'
        f',"ja4":{fingerprint}'
        f',"route":{_text(record.route, limit)}'
        f',"mode":{_text(record.mode, limit)}'
        f',"upstream":{_text(record.upstream, limit)}'
        f',"bytes_in":{record.bytes_in}'
        f',"bytes_out":{record.bytes_out}'
        f',"hello_ms":{_ms(record.t_accept, record.t_hello)}'
        f',"connect_ms":{_ms(record.t_connect_start, record.t_connect)}'
        f',"handshake_ms":{_ms(record.t_handshake_start, record.t_handshake)}'
        f',"total_ms":{_ms(record.t_accept, record.t_end)}'
        f',"ended_by":"{record.ended_by}"'
        f',"reason":"{record.reason}"'
        f',"detail":{_text(record.detail, limit)}'
        f',"alert":{"null" if alert is None else quoted(_ALERTS.get(alert) or str(alert))}'
        f',"tls_version":{"null" if version is None else _text(version.removeprefix("TLSv"), limit)}'
        f',"cipher":{_text(record.cipher, limit)}}}\n'
    )


def _text(value: str | None, limit: int) -> str:
    if value is None:
        return "null"
    if len(value) > limit:
        value = f"{value[:limit]}…(+{len(value) - limit})"
    return quoted(value)


def _ms(began: float | None, ended: float | None) -> str:
    if began is None or ended is None:
        return "null"
    return f"{(ended - began) * 1000:.3f}"


def _cut_name(name: bytes, limit: int) -> str:
    if len(name) > limit:
        return f"{name[:limit].decode('latin-1')}…(+{len(name) - limit})"
    return name.decode("latin-1")


def _alpn(protocols: tuple[bytes, ...], limit: int) -> str:
    names = [quoted(_cut_name(protocol, limit)) for protocol in protocols[:MAX_LISTED]]
    return _list(names, len(protocols))


@lru_cache(maxsize=64)
def _versions(versions: tuple[int, ...]) -> str:
    names = [f'"{_VERSIONS.get(version) or f"0x{version:04x}"}"' for version in versions[:MAX_LISTED]]
    return _list(names, len(versions))


def _list(shown: Sequence[str], there_are: int) -> str:
    if there_are > len(shown):
        shown = [*shown, quoted(f"…(+{there_are - len(shown)})")]
    return f"[{','.join(shown)}]"


@lru_cache(maxsize=16)
def utc(seconds: int) -> str:
    """`2026-11-22T13:41:24`, of seconds since the epoch."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


# ---- for people


_PLAIN_NAME: Final = re.compile(rb"[A-Za-z0-9_.:-]+")
_CARRIED: Final = frozenset(list(Reason)[: list(Reason).index(Reason.DRAIN_TIMEOUT) + 1])


def _human(record: ConnectionRecord, limit: int) -> str:
    seconds, ms = divmod(int(record.started * 1000), 1000)
    name = "-" if record.server_name is None else shown_name(record.server_name, limit)
    route = "" if record.route is None else f" [{printable(record.route, limit)}]"
    end = f"closed by {record.ended_by}" if record.reason is Reason.CLOSED else str(record.reason)
    if record.detail is not None:
        end += f": {printable(record.detail, limit)}"
    if record.alert is not None:
        end += f", alert {_ALERTS.get(record.alert) or record.alert}"
    parts = []
    if record.reason in _CARRIED:
        parts += [f"{_size(record.bytes_in)} in", f"{_size(record.bytes_out)} out"]
    if record.t_accept is not None and record.t_end is not None:
        parts.append(f"{record.t_end - record.t_accept:.2f} s")
    if record.upstream is None:
        story = f"✕{route} {', '.join([end, *parts])}"
    else:
        mode = "" if record.mode is None else f" {printable(record.mode, limit)}"
        story = f"→ {printable(record.upstream, limit)}{mode}{route} {', '.join([*parts, end])}"
    client = printable(record.client, limit)
    return f"{_local(seconds)}.{ms:03d} {client:<21} {name:<24} {story}\n"


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """`text` with all that a terminal would act on (controls, bidi marks, lone surrogates) escaped."""
    left_out = len(text) - limit
    if left_out > 0:
        text = text[:limit]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"{text}…(+{left_out})" if left_out > 0 else text


def shown_name(name: bytes, limit: int = MAX_TEXT) -> str:
    """A server name for people: as it is when it looks like a name, otherwise quoted and escaped.

    The quotes keep a name with spaces in it from passing for the rest of the line.
    """
    left_out = len(name) - limit
    name = name[:limit]
    if _PLAIN_NAME.fullmatch(name):
        text = name.decode("ascii")
    else:
        text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in name)
        text = f'"{text}"'
    return f"{text}…(+{left_out})" if left_out > 0 else text


def _size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


@lru_cache(maxsize=16)
def _local(seconds: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))

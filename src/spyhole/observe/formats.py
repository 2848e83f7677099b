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

    from spyhole.observe.record import ConnectionRecord, Greeting
    from spyhole.outcome import EndedBy

MAX_LINE: Final = 4096
"""Bytes of the longest line, its newline included."""

MAX_TEXT: Final = 255
"""Characters (of a server name: bytes) of one value that are written; `…(+N)` says how many were not."""

MAX_LISTED: Final = 8
"""Entries of `alpn` and `tls_versions` that are written; `…(+N)` says how many were not."""

_VERSIONS: Final = {0x0304: "1.3", 0x0303: "1.2", 0x0302: "1.1", 0x0301: "1.0", 0x0300: "ssl3"}
_NULL: Final = "null"
_THREE_DIGITS: Final = tuple(f"{number:03d}" for number in range(1000))
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
    # Pieces that are JSON already. Those that one connection has in common with the next are kept, as long
    # as no peer can make them large: names and details are written anew each time.
    seconds, ms = divmod(int(record.started * 1000), 1000)
    greeting, name, detail = record.greeting, record.server_name, record.detail
    if greeting is None:
        said = ',"alpn":null,"tls_versions":null,"ja4":null'
    elif len(greeting.alpn) <= MAX_LISTED:
        said = _said(greeting, limit)
    else:
        said = _said.__wrapped__(greeting, limit)
    return (
        f'{{"time":"{utc(seconds)}.{_THREE_DIGITS[ms]}Z","client":{_text(record.client, limit)}'
        f'{_listener(record.listener, limit)},"server_name":{_NULL if name is None else _name(name, limit)}'
        f"{said}{_way(record.route, record.mode, record.upstream, limit)}"
        f',"bytes_in":{record.bytes_in},"bytes_out":{record.bytes_out}{_durations(record)}'
        f'{_end(record.ended_by, record.reason)},"detail":'
        f"{_NULL if detail is None else _text(detail, limit)}"
        f"{_negotiated(record.alert, record.tls_version, record.cipher, limit)}"
    )


@lru_cache(maxsize=64)
def _listener(name: str, limit: int) -> str:
    return f',"listener":{_text(name, limit)}'


@lru_cache(maxsize=256)
def _said(greeting: Greeting, limit: int) -> str:
    return (
        f',"alpn":{_list([_name(p, limit) for p in greeting.alpn[:MAX_LISTED]], len(greeting.alpn))}'
        f',"tls_versions":{_versions(greeting.versions)},"ja4":{quoted(greeting.ja4)}'
    )


@lru_cache(maxsize=1024)
def _way(route: str | None, mode: str | None, upstream: str | None, limit: int) -> str:
    return f',"route":{_text(route, limit)},"mode":{_text(mode, limit)},"upstream":{_text(upstream, limit)}'


@lru_cache(maxsize=128)
def _end(ended_by: EndedBy, reason: Reason) -> str:
    return f',"ended_by":"{ended_by}","reason":"{reason}"'


@lru_cache(maxsize=64)
def _negotiated(alert: int | None, version: str | None, cipher: str | None, limit: int) -> str:
    return (
        f',"alert":{_text(None if alert is None else _ALERTS.get(alert) or str(alert), limit)}'
        f',"tls_version":{_text(None if version is None else version.removeprefix("TLSv"), limit)}'
        f',"cipher":{_text(cipher, limit)}}}\n'
    )


def _durations(record: ConnectionRecord) -> str:
    accept, hello, end = record.t_accept, record.t_hello, record.t_end
    start, connect = record.t_connect_start, record.t_connect
    began, shook = record.t_handshake_start, record.t_handshake
    if accept is None or hello is None or end is None or start is None or connect is None:
        return (
            f',"hello_ms":{_ms(accept, hello)},"connect_ms":{_ms(start, connect)}'
            f',"handshake_ms":{_ms(began, shook)},"total_ms":{_ms(accept, end)}'
        )
    # of a connection that was carried: half of what f-strings cost
    return ',"hello_ms":%.3f,"connect_ms":%.3f,"handshake_ms":%s,"total_ms":%.3f' % (  # noqa: UP031
        (hello - accept) * 1000,
        (connect - start) * 1000,
        _NULL if shook is None else _ms(began, shook),
        (end - accept) * 1000,
    )


def _name(name: bytes, limit: int) -> str:
    # bytes as Latin-1: one character for each byte, so the name can be had back exactly
    left_out = len(name) - limit
    text = name[:limit].decode("latin-1")
    return quoted(f"{text}…(+{left_out})" if left_out > 0 else text)


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

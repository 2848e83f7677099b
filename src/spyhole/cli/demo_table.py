"""What the demo shows of its requests, side by side, and what has to be true of them."""

from __future__ import annotations

import re
import shutil
import textwrap
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

import click

from spyhole.wire.alerts import Alert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spyhole.cli.demo_visit import Seen

_WIDEST: Final = 34
_NARROWEST: Final = 20
_GAP: Final = 2
# "curl: (35) OpenSSL/3.0.19: error:0A000458:SSL routines::tlsv1 unrecognized name"
_CURL_ERROR: Final = re.compile(r"curl: \((\d+)\)(?:.*:)? ?(.*)")


@dataclass(slots=True)
class Column:
    """One request: what the client saw, and the line of the access log that tells of it."""

    title: str
    server_name: str
    seen: Seen
    line: str
    record: dict[str, Any]
    """The same line, decoded."""
    curl: str | None = None
    """What curl said to the same request; None when there is no curl."""


def table(columns: Sequence[Column], holders: Mapping[str, str]) -> str:
    """The requests as columns; `holders` says who has the key of a certificate, by its fingerprint."""
    rows = {
        "server name": [column.server_name for column in columns],
        "route": [column.record["route"] or "none matches" for column in columns],
        "mode": [column.record["mode"] or "-" for column in columns],
        "upstream": [column.record["upstream"] or "-" for column in columns],
        "who has the key": [_holder(column.seen, holders) for column in columns],
        "certificate seen": [_certificate(column.seen) for column in columns],
        "TLS": [_tls(column) for column in columns],
        "bytes": [
            f"{column.record['bytes_in']} in, {column.record['bytes_out']} out" for column in columns
        ],
        "answer": [column.seen.answer or "-" for column in columns],
        "by curl": [_curl(column) for column in columns],
        "ended": [f"{column.record['reason']} by the {column.record['ended_by']}" for column in columns],
    }
    label = max(map(len, rows)) + _GAP
    room = (shutil.get_terminal_size((120, 24)).columns - label) // len(columns) - _GAP
    width = min(max(room, _NARROWEST), _WIDEST)
    lines = [
        " " * label
        + _line(
            [click.style(column.title, bold=True) + " " * (width - len(column.title)) for column in columns]
        )
    ]
    for name, cells in rows.items():
        wrapped = [textwrap.wrap(cell, width) for cell in cells]
        for index, parts in enumerate(zip_longest(*wrapped, fillvalue="")):
            head = "" if index else name
            lines.append(head.ljust(label) + _line([part.ljust(width) for part in parts]))
    return "\n".join(lines) + "\n"


def broken_promises(columns: Sequence[Column], own: str, theirs: str) -> list[str]:
    """What is not as it has to be; `own` and `theirs` are Spyhole's fingerprint and the git backend's."""
    git, www, nobody = columns
    promises = {
        "the route for git passes through": git.record["mode"] == "passthrough",
        "the route for www terminates": www.record["mode"] == "terminate",
        "passed through, the client sees the backend's own certificate": git.seen.fingerprint == theirs,
        "passed through, the backend decrypts": "with my own key" in (git.seen.answer or ""),
        "passed through, the log knows of no TLS of Spyhole's own": git.record["tls_version"] is None,
        "terminated, the client sees Spyhole's certificate": www.seen.fingerprint == own,
        "terminated, the backend gets plain HTTP": "plain HTTP" in (www.seen.answer or ""),
        "terminated, the log has the version that the client negotiated": (
            www.seen.version == f"TLSv{www.record['tls_version']}"
        ),
        "refused, the client gets the alert unrecognized_name": nobody.seen.alert
        is Alert.UNRECOGNIZED_NAME,
        "refused, the log says no_route": nobody.record["reason"] == "no_route",
        "refused, nothing is dialled": nobody.record["upstream"] is None,
        "refused, curl fails": nobody.curl is None or nobody.curl.startswith("curl: ("),
    }
    for column in (git, www):
        promises |= {
            f"{column.server_name}: it ends cleanly": column.record["reason"] == "closed",
            f"{column.server_name}: the log counts bytes both ways": (
                column.record["bytes_in"] > 0 and column.record["bytes_out"] > 0
            ),
            f"{column.server_name}: curl gets the same": column.curl is None
            or column.curl.partition(":")[0] == (column.seen.answer or "").partition(":")[0],
        }
    return [promise for promise, kept in promises.items() if not kept]


def _line(cells: Sequence[str]) -> str:
    return (" " * _GAP).join(cells).rstrip()


def _holder(seen: Seen, holders: Mapping[str, str]) -> str:
    return "-" if seen.fingerprint is None else holders.get(seen.fingerprint, "nobody here")


def _certificate(seen: Seen) -> str:
    return "none" if seen.fingerprint is None else f"{seen.holder}'s ({seen.fingerprint[:11]}…)"


def _tls(column: Column) -> str:
    if column.seen.alert is not None:
        return f"alert {column.seen.alert.name.lower()}"
    return f"{column.seen.version} with {'Spyhole' if column.record['tls_version'] else 'the backend'}"


def _curl(column: Column) -> str:
    if column.curl is None:
        return "(no curl here)"
    if column.curl == column.seen.answer:
        return "the same"
    error = _CURL_ERROR.fullmatch(column.curl)
    return f"error {error[1]}: {error[2]}" if error else column.curl

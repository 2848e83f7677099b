"""Laws of an access log line: what json.loads makes of it, and what a terminal can't be made to do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.observe import formats
from spyhole.observe.formats import MAX_LINE, human_line, json_line, printable, shown_name
from spyhole.observe.record import ConnectionRecord, Greeting
from spyhole.outcome import EndedBy, Reason
from spyhole.wire.client_hello import ClientHello

FINGERPRINT = "t13d1516h2_8daaf6152771_02713d6af862"
VERSIONS = {0x0304: "1.3", 0x0303: "1.2", 0x0302: "1.1", 0x0301: "1.0", 0x0300: "ssl3"}


texts = st.text(max_size=40) | st.text(st.characters(), min_size=250, max_size=300)
names = st.binary(max_size=40) | st.binary(min_size=250, max_size=300)
moments = st.none() | st.floats(0, 1e7)


@st.composite
def records(draw: st.DrawFn) -> ConnectionRecord:
    record = ConnectionRecord(draw(st.floats(0, 4e9)), draw(texts), draw(texts), draw(moments))
    if draw(st.booleans()):
        alpn = draw(st.lists(names, max_size=12).map(tuple))
        versions = draw(st.lists(st.sampled_from([*VERSIONS, 0x7F17, 0]), max_size=12).map(tuple))
        record.greeting = Greeting(alpn, versions, FINGERPRINT)
    record.server_name = draw(st.none() | names)
    record.route, record.upstream, record.detail, record.cipher = (
        draw(st.none() | texts) for _ in range(4)
    )
    record.mode = draw(st.sampled_from([None, "passthrough", "terminate", "reject"]))
    record.tls_version = draw(st.sampled_from([None, "TLSv1.2", "TLSv1.3"]))
    record.bytes_in, record.bytes_out = draw(st.integers(0, 2**63)), draw(st.integers(0, 2**63))
    record.t_hello, record.t_connect_start, record.t_connect = draw(moments), draw(moments), draw(moments)
    record.t_handshake_start, record.t_handshake, record.t_end = draw(moments), draw(moments), draw(moments)
    record.ended_by, record.reason = draw(st.sampled_from(EndedBy)), draw(st.sampled_from(Reason))
    record.alert = draw(st.sampled_from([None, 112, 40, 255]))
    return record


def expected(record: ConnectionRecord, limit: int) -> dict[str, Any]:
    """What the documentation says, written the slow way."""

    def cut(value: str | None) -> str | None:
        return value if value is None or len(value) <= limit else f"{value[:limit]}…(+{len(value) - limit})"

    def some(values: list[str | None]) -> list[str | None]:
        return values if len(values) <= 8 else [*values[:8], f"…(+{len(values) - 8})"]

    def ms(began: float | None, ended: float | None) -> float | None:
        return None if began is None or ended is None else round((ended - began) * 1000, 3)

    name, greeting = record.server_name, record.greeting
    stamp = int(record.started * 1000)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp // 1000)) + f".{stamp % 1000:03d}Z",
        "client": cut(record.client),
        "listener": cut(record.listener),
        "server_name": None if name is None else cut(name.decode("latin-1")),
        "alpn": None if greeting is None else some([cut(p.decode("latin-1")) for p in greeting.alpn]),
        "tls_versions": None
        if greeting is None
        else some([VERSIONS.get(v, f"0x{v:04x}") for v in greeting.versions]),
        "ja4": None if greeting is None else greeting.ja4,
        "route": cut(record.route),
        "mode": record.mode,
        "upstream": cut(record.upstream),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "hello_ms": ms(record.t_accept, record.t_hello),
        "connect_ms": ms(record.t_connect_start, record.t_connect),
        "handshake_ms": ms(record.t_handshake_start, record.t_handshake),
        "total_ms": ms(record.t_accept, record.t_end),
        "ended_by": record.ended_by.value,
        "reason": record.reason.value,
        "detail": cut(record.detail),
        "alert": {None: None, 112: "unrecognized_name", 40: "handshake_failure", 255: "255"}[record.alert],
        "tls_version": {None: None, "TLSv1.2": "1.2", "TLSv1.3": "1.3"}[record.tls_version],
        "cipher": cut(record.cipher),
    }


class TestJson:
    @given(records())
    def test_any_record_is_one_line_that_decodes_to_it(self, record: ConnectionRecord) -> None:
        line = json_line(record)
        assert len(line) <= MAX_LINE
        assert line.endswith(b"\n")
        assert all(32 <= byte < 127 for byte in line[:-1])
        found = json.loads(line)
        candidates = [expected(record, limit) for limit in (255, 64, 20)]
        assert found in candidates
        assert list(found) == list(candidates[0])

    @given(st.binary(max_size=255))
    def test_a_server_name_can_be_had_back_byte_for_byte(self, name: bytes) -> None:
        record = ConnectionRecord(0.0, "192.0.2.1:5", "a")
        record.server_name = name
        assert json.loads(json_line(record))["server_name"].encode("latin-1") == name

    @pytest.mark.parametrize("byte", [b"a", b"\xff", b"\n", b'"', b"\0"])
    def test_a_name_of_64_kib_is_cut_and_says_so(self, byte: bytes) -> None:
        record = ConnectionRecord(0.0, "192.0.2.1:5", "a")
        record.server_name = byte * 65_535
        assert json.loads(json_line(record))["server_name"] == byte.decode("latin-1") * 255 + "…(+65280)"

    def test_the_largest_record_keeps_what_names_it(self) -> None:
        long, wide = b"\xff" * 65_535, "\U0001f600" * 10_000
        record = ConnectionRecord(0.0, wide, wide, 0.0)
        record.greeting = Greeting((long,) * 100, (0x0304,) * 100, FINGERPRINT)
        record.server_name = long
        record.route = record.upstream = record.detail = record.cipher = record.mode = (
            record.tls_version
        ) = wide
        line = json_line(record)
        assert len(line) <= MAX_LINE
        assert json.loads(line)["server_name"].startswith("\xff" * 20)
        assert len(human_line(record)) <= MAX_LINE
        assert human_line(record).endswith(b"\n")

    def test_an_ordinary_line(self) -> None:
        record = ConnectionRecord(1_700_000_000.1239, "192.0.2.1:5555", "web", 100.0)
        record.greeting = Greeting((b"h2", b"http/1.1"), (0x0304, 0x0303), FINGERPRINT)
        record.server_name, record.route, record.mode = b"git.example.com", "routes[1]", "passthrough"
        record.upstream, record.bytes_in, record.bytes_out = "10.0.0.5:443", 517, 3000
        record.t_hello, record.t_connect_start, record.t_connect, record.t_end = (
            100.0005,
            100.0006,
            100.001,
            100.25,
        )
        record.ended_by, record.reason = EndedBy.CLIENT, Reason.CLOSED
        assert json_line(record).decode() == (
            '{"time":"2023-11-14T22:13:20.123Z","client":"192.0.2.1:5555","listener":"web"'
            ',"server_name":"git.example.com","alpn":["h2","http/1.1"],"tls_versions":["1.3","1.2"]'
            f',"ja4":"{FINGERPRINT}","route":"routes[1]","mode":"passthrough","upstream":"10.0.0.5:443"'
            ',"bytes_in":517,"bytes_out":3000,"hello_ms":0.500,"connect_ms":0.400,"handshake_ms":null'
            ',"total_ms":250.000,"ended_by":"client","reason":"closed","detail":null,"alert":null'
            ',"tls_version":null,"cipher":null}\n'
        )


class TestHuman:
    @given(records())
    def test_any_record_is_one_printable_line(self, record: ConnectionRecord) -> None:
        line = human_line(record)
        assert len(line) <= MAX_LINE
        text = line.decode()
        assert text.endswith("\n")
        assert text[:-1].isprintable()

    def test_a_carried_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "localtime", time.gmtime)
        formats._local.cache_clear()
        record = ConnectionRecord(43_201.1239, "192.0.2.1:5555", "web", 100.0)
        record.server_name, record.route, record.mode = b"git.example.com", "git", "passthrough"
        record.upstream, record.bytes_in, record.bytes_out, record.t_end = (
            "10.0.0.5:443",
            12_345,
            4_500,
            100.31,
        )
        record.ended_by, record.reason = EndedBy.CLIENT, Reason.CLOSED
        assert human_line(record).decode() == (
            "12:00:01.123 192.0.2.1:5555        git.example.com          → 10.0.0.5:443 passthrough [git]"
            " 12.3 KB in, 4.5 KB out, 0.31 s, closed by client\n"
        )
        record.reason, record.detail = Reason.UPSTREAM_RESET, None
        assert human_line(record).decode().endswith(" 0.31 s, upstream_reset\n")
        formats._local.cache_clear()

    def test_a_refused_connection_says_why(self) -> None:
        record = ConnectionRecord(43_201.1239, "192.0.2.1:5555", "web", 100.0)
        record.server_name, record.t_end, record.alert = b"no.example.com", 100.01, 112
        record.reason, record.detail = Reason.NO_ROUTE, "2 routes tried"
        assert human_line(record).decode()[13:] == (
            "192.0.2.1:5555        no.example.com           "
            "✕ no_route: 2 routes tried, alert unrecognized_name, 0.01 s\n"
        )

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            (b"git.example.com", "git.example.com"),
            (b"", '""'),
            (b"a\n\x1b[31mb", r'"a\x0a\x1b[31mb"'),
            (b"a closed by client", '"a closed by client"'),
            (b'a"b\\', r'"a\x22b\x5c"'),
            ("bücher".encode(), r'"b\xc3\xbccher"'),
            (b"a" * 256, "a" * 255 + "…(+1)"),
        ],
    )
    def test_names(self, name: bytes, shown: str) -> None:
        assert shown_name(name) == shown

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("plain café →", "plain café →"),
            ("a\tb\x9b\u202e\x7f", r"a\tb\x9b\u202e\x7f"),
            ("\udc80", r"\udc80"),
        ],
    )
    def test_text_that_a_terminal_would_act_on_is_escaped(self, text: str, shown: str) -> None:
        assert printable(text) == shown

    @pytest.mark.parametrize(
        ("count", "shown"),
        [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (12_345, "12.3 KB"), (999_949, "999.9 KB"),
         (999_950, "1.0 MB"), (4_500_000_000, "4.5 GB"), (10**15, "1000.0 TB")],
    )  # fmt: skip
    def test_sizes(self, count: int, shown: str) -> None:
        assert formats._size(count) == shown


def test_real_hellos_have_their_ja4(vectors: Path) -> None:
    row = json.loads((vectors / "browsers.json").read_text())[0]
    record = ConnectionRecord(0.0, "192.0.2.1:5", "a")
    record.greeting = Greeting.of(ClientHello.parse(bytes.fromhex(row["hex"])[5:]))
    assert json.loads(json_line(record))["ja4"] == row["ja4"]

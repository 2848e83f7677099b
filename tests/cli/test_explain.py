from __future__ import annotations

import json
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spyhole.cli.explain import explain
from support.certificates import Authority

CONFIG = """
[[listeners]]
bind = "127.0.0.1:8443"
name = "public"

[[listeners]]
bind = "127.0.0.1:9443"
name = "admin"

[[routes]]
name = "git"
sni = "git.example.com"
upstream = "10.0.0.5:443"

[[routes]]
name = "web"
sni = ["www.example.com", "*.shop.example.com"]
alpn = ["h2", "http/1.1"]
mode = "terminate"
upstream = "web"

[[routes]]
name = "console"
sni = "console.example.com"
listener = "admin"
from = "10.0.0.0/8"
upstream = "web"

[[routes]]
sni = "old.example.com"
mode = "reject"

[[routes]]
name = "modern"
sni = "modern.example.com"
mode = "terminate"
min_version = "1.3"
upstream = "web"

[[routes]]
name = "ssh"
tls = false
listener = "admin"
upstream = "unix:/run/ssh.sock"

[upstreams.web]
servers = ["10.0.0.7:8080", "10.0.0.8:8080"]

[[certificates]]
cert = "www.pem"
key = "www.key"
"""


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> Path:
    authority.issue("www.example.com", "modern.example.com", file="www")
    file = tmp_path / "spyhole.toml"
    file.write_text(CONFIG)
    return file


def ask(config: Path, *arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(explain, ["-c", str(config), *map(str, arguments)], input=stdin)


def answers(config: Path, *arguments: str | Path, code: int) -> list[dict[str, Any]]:
    result = ask(config, *arguments, "--format", "json")
    assert result.exit_code == code, result.output
    answered: list[dict[str, Any]] = json.loads(result.stdout)["answers"]
    return answered


def hello(
    name: str | None, *alpn: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, swap: bytes = b""
) -> bytes:
    """What OpenSSL sends; `swap` replaces as many bytes at the beginning of the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    data = sent.read()
    return data.replace(name.encode()[: len(swap)], swap) if name and swap else data


def test_a_route_that_passes_through(config: Path) -> None:
    [answer] = answers(config, "--sni", "GIT.example.com.", code=0)
    assert (answer["route"], answer["mode"]) == ("git", "passthrough")
    assert answer["listeners"] == ["public", "admin"]
    assert answer["upstream"] == {"name": "10.0.0.5:443", "servers": ["10.0.0.5:443"]}
    assert answer["certificates"] == []


def test_a_route_that_terminates_shows_its_certificate(config: Path) -> None:
    [answer] = answers(config, "--sni", "www.example.com", "--alpn", "x", "--alpn", "h2", code=0)
    assert (answer["route"], answer["mode"]) == ("web", "terminate")
    [certificate] = answer["certificates"]
    assert certificate["cert"].endswith("www.pem")
    assert certificate["key_type"] == "ecdsa"
    assert certificate["names"] == ["www.example.com", "modern.example.com"]
    assert answer["upstream"]["servers"] == ["10.0.0.7:8080", "10.0.0.8:8080"]


def test_a_name_without_a_certificate_is_refused(config: Path) -> None:
    [answer] = answers(config, "--sni", "a.shop.example.com", "--alpn", "h2", code=1)
    assert (answer["route"], answer["reason"]) == ("web", "no_certificate")
    assert answer["alert"] == {"code": 112, "name": "unrecognized_name"}
    config.write_text(CONFIG + "default = true\n")
    [answer] = answers(config, "--sni", "a.shop.example.com", "--alpn", "h2", code=0)
    assert answer["default_certificate"] is True


def test_a_certificate_that_cannot_be_read_is_an_error_only_where_it_matters(config: Path) -> None:
    (config.parent / "www.key").unlink()
    assert ask(config, "--sni", "git.example.com").exit_code == 0
    result = ask(config, "--sni", "www.example.com", "--alpn", "h2")
    assert result.exit_code == 2
    assert "by route 'web'" in result.stdout
    assert re.match(rf"{config}:\d+:7: error: no such file", result.stderr)
    assert 'key = "www.key"\n' in result.stderr


def test_no_route_says_what_was_tried(config: Path) -> None:
    result = ask(config, "--sni", "www.example.com")
    assert result.exit_code == 1
    assert "refused: no_route, alert unrecognized_name (112)" in result.output
    assert "1. sni 'www.example.com' of route 'web': passed over" in result.output
    assert 'no   alpn: the client offers none; the route asks for h2 or http/1.1; add ""' in result.output


def test_no_route_says_what_comes_close(config: Path) -> None:
    result = ask(config, "--sni", "shop.example.com")
    assert result.exit_code == 1
    assert "takes names under 'shop.example.com', not 'shop.example.com' itself" in result.output


def test_a_route_that_rejects(config: Path) -> None:
    [answer] = answers(config, "--sni", "old.example.com", code=1)
    assert (answer["route"], answer["reason"]) == ("routes[4]", "rejected")
    assert answer["alert"]["name"] == "unrecognized_name"


def test_listeners_that_do_not_agree_answer_each_for_itself(config: Path) -> None:
    public, admin = answers(config, "--sni", "console.example.com", "--from", "10.1.2.3", code=1)
    assert (public["listeners"], public["reason"]) == (["public"], "no_route")
    assert (admin["listeners"], admin["route"]) == (["admin"], "console")
    [answer] = answers(
        config, "--sni", "console.example.com", "--from", "10.1.2.3", "--listener", "admin", code=0
    )
    assert answer["route"] == "console"


def test_from(config: Path) -> None:
    question = ("--sni", "console.example.com", "--listener", "admin")
    assert ask(config, *question, "--from", "::ffff:10.0.0.1").exit_code == 0
    outside = ask(config, *question, "--from", "192.0.2.7")
    assert outside.exit_code == 1
    assert "from: 192.0.2.7 is not in 10.0.0.0/8" in outside.output
    unknown = ask(config, *question)
    assert unknown.exit_code == 1
    assert "give the client's address with --from" in unknown.output


def test_a_client_that_does_not_speak_tls(config: Path) -> None:
    public, admin = answers(config, "--not-tls", code=1)
    assert (public["reason"], public["alert"]) == ("not_tls", None)
    assert admin["route"] == "ssh"


def test_an_address_counts_as_no_name(config: Path) -> None:
    result = ask(config, "--sni", "10.0.0.5")
    assert result.exit_code == 1
    assert "note: '10.0.0.5' is an IP address, which counts as no server name" in result.output
    assert "it sends no server name" in ask(config, "--no-sni").output


@pytest.mark.parametrize(
    "form", [bytes, lambda data: data.hex(" ").encode() + b"\n", lambda data: data[5:]]
)
def test_a_hello_from_a_file_raw_or_hex_or_without_its_record(
    config: Path, tmp_path: Path, form: Any
) -> None:
    file = tmp_path / "hello"
    file.write_bytes(form(hello("www.example.com", "h2")))
    [answer] = answers(config, "--hello", file, code=0)
    assert answer["route"] == "web"


def test_a_hello_from_standard_input(config: Path) -> None:
    result = ask(config, "--hello", "-", stdin=hello("git.example.com"))
    assert result.exit_code == 0
    assert "by route 'git'" in result.output


def test_a_hello_that_is_refused_before_any_route(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(hello("git.example.com", swap=b"git\n"))
    [answer] = answers(config, "--hello", file, code=1)
    assert (answer["reason"], answer["alert"]["name"]) == ("invalid_server_name", "unrecognized_name")
    assert answer["tried"] == []
    data = hello("git.example.com")
    file.write_bytes(data[:43] + b"\xff" + data[44:])  # the session id's length
    [answer] = answers(config, "--hello", file, code=1)
    assert (answer["reason"], answer["alert"]["name"]) == ("malformed_hello", "decode_error")
    config.write_text("max_hello_size = 256\n" + CONFIG)
    file.write_bytes(data)
    assert answers(config, "--hello", file, code=1)[0]["reason"] == "hello_too_large"


def test_a_hello_that_offers_too_old_a_version(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(hello("modern.example.com", newest=ssl.TLSVersion.TLSv1_2))
    [answer] = answers(config, "--hello", file, code=1)
    assert (answer["reason"], answer["alert"]["name"]) == ("handshake_failed", "protocol_version")
    file.write_bytes(hello("modern.example.com"))
    assert answers(config, "--hello", file, code=0)[0]["route"] == "modern"


def test_a_file_that_is_not_tls(config: Path, tmp_path: Path) -> None:
    file = tmp_path / "hello"
    file.write_bytes(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert answers(config, "--hello", file, "--listener", "admin", code=0)[0]["route"] == "ssh"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --sni NAME, --no-sni, --not-tls or --hello FILE"),
        (["--sni", "a.test", "--not-tls"], "--sni and --not-tls exclude each other"),
        (["--not-tls", "--alpn", "h2"], "--alpn and --not-tls exclude each other"),
        (["--no-sni", "--alpn", ""], "expected 1 to 255 bytes"),
        (["--sni", "a..test"], "not a host name: a label is empty"),
        (["--sni", "*.test"], "not a host name: byte b'*' at 0"),
        (["--sni", ""], "not a host name: it is empty"),
        (["--sni", "straße.test"], "xn--strae-oqa"),
        (["--no-sni", "--from", "10.0.0.5:443"], "without the port it is '10.0.0.5'"),
        (["--no-sni", "--from", "10.0.0.0/8"], "one client's, not a network"),
        (["--no-sni", "--from", "10.0.0"], "expected an IP address"),
        (["--no-sni", "--listener", "publik"], "did you mean 'public'?"),
        (["--no-sni", "--listener", "xyz"], "expected 'public' or 'admin'"),
        (["--hello", "nowhere"], "'nowhere': no such file or directory"),
    ],
)
def test_a_question_that_cannot_be_answered(config: Path, arguments: list[str], said: str) -> None:
    result = ask(config, *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"1603010", "7 hexadecimal digits, an odd number"),
        (b"\x16\x03\x01\x02\x00\x01", "not whole"),
    ],
)
def test_a_file_that_is_no_hello(config: Path, tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "hello"
    file.write_bytes(content)
    result = ask(config, "--hello", file)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_the_configuration_is_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spyhole.toml"
    file.write_text(CONFIG.replace("bind", "bin", 1))
    result = ask(file, "--no-sni")
    assert result.exit_code == 2
    assert "did you mean 'bind'?" in result.stderr
    monkeypatch.chdir(tmp_path)
    file.unlink()
    result = CliRunner().invoke(explain, ["--no-sni"])
    assert result.exit_code == 2
    assert "there is no spyhole.toml here" in result.stderr

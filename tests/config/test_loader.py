"""Every mistake gets a message with its place, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from spyhole.config.loader import LARGEST, load
from spyhole.config.model import Config
from spyhole.config.problems import ConfigErrors, Problem
from spyhole.routing.route import Mode

SOUND = """\
[[listeners]]
bind = "0.0.0.0:443"
[[routes]]
sni = "git.example.com"
upstream = "10.0.0.5:443"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "spyhole.toml"


def problems(file: Path, content: str | bytes) -> tuple[Problem, ...]:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigErrors) as raised:
        load(file)
    return raised.value.problems


def problem(file: Path, content: str | bytes) -> Problem:
    (only,) = problems(file, content)
    return only


def marked(problem: Problem) -> str:
    """What the caret underlines."""
    assert problem.source_line is not None
    assert problem.column is not None
    return problem.source_line[problem.column - 1 :][: problem.length]


def test_the_smallest_configuration_has_all_the_defaults(file: Path) -> None:
    file.write_text(SOUND)
    config = load(file)
    assert (config.hello_timeout, config.connect_timeout, config.handshake_timeout) == (5, 5, 10)
    assert (config.idle_timeout, config.half_close_timeout, config.drain_timeout) == (3600, 60, 30)
    assert (config.max_lifetime, config.keepalive) == (None, 120)
    assert (config.max_connections, config.max_hello_size, config.max_empty_records) == (None, 65_536, 32)
    assert (config.workers, config.user, config.min_version) == (None, None, "1.2")
    assert (config.access_log, config.access_log_format) == ("-", "json")
    assert (config.error_log, config.log_level) == ("-", "info")
    assert config.listeners[0].name == "0.0.0.0:443"
    assert config.routes[0].mode is Mode.PASSTHROUGH
    assert config.routes[0].tls


def test_every_kind_of_key_is_read(file: Path) -> None:
    file.write_text(
        """\
workers = "auto"
user = "spyhole"
access_log = "access.log"
access_log_format = "human"
log_level = "debug"
error_log = "/var/log/spyhole.log"
hello_timeout = 1.5
max_lifetime = "1d"
keepalive = "off"
max_connections = 100
max_hello_size = "16KiB"
min_version = "1.3"
[[listeners]]
name = "all"
bind = ["*:443", "[0::0]:8443", "unix:/run/x.sock"]
[[routes]]
name = "first"
sni = ["WWW.Example.com.", "*.b.test"]
sni_regex = 'c[0-9]\\.test'
alpn = ["h2", ""]
from = ["10.0.0.0/8", "2001:db8::1"]
listener = "all"
mode = "terminate"
upstream = "web"
min_version = "1.2"
[[routes]]
tls = false
upstream = "unix:/run/y.sock"
[upstreams.web]
servers = ["a.test:80", "[::1]:80"]
[[certificates]]
cert = "certs/c.pem"
key = "/k.pem"
default = true
"""
    )
    config = load(file)
    assert (config.max_lifetime, config.keepalive, config.max_hello_size) == (86_400, None, 16_384)
    assert config.access_log == file.parent / "access.log"
    assert config.error_log == Path("/var/log/spyhole.log")
    assert list(map(str, config.listeners[0].bind)) == ["*:443", "[::]:8443", "unix:/run/x.sock"]
    route = config.routes[0]
    assert list(map(str, route.sni)) == ["www.example.com", "*.b.test"]
    assert list(map(str, route.from_)) == ["10.0.0.0/8", "2001:db8::1/128"]
    assert (route.alpn, route.listener, route.min_version) == (("h2", ""), ("all",), "1.2")
    assert config.certificates[0].cert == file.parent / "certs/c.pem"
    assert config.certificates[0].key == Path("/k.pem")


def test_unix_sockets_have_their_place_from_the_file_as_well(file: Path) -> None:
    file.write_text(
        """\
[[listeners]]
bind = ["unix:front.sock", "unix:/run/x.sock"]
[[routes]]
sni = "a.test"
upstream = "unix:run/a.sock"
listener = "unix:front.sock"
[[routes]]
upstream = "web"
[upstreams.web]
servers = "unix:./@web.sock"
"""
    )
    config = load(file)
    above = file.parent
    assert list(map(str, config.listeners[0].bind)) == [f"unix:{above}/front.sock", "unix:/run/x.sock"]
    assert config.listeners[0].name == "unix:front.sock"
    assert config.routes[0].upstream == f"unix:{above}/run/a.sock"
    assert list(map(str, config.upstreams["web"].servers)) == [f"unix:{above}/./@web.sock"]
    file.write_text(file.read_text().replace("run/a.sock", "a" * 107))
    assert "where the kernel takes 107" in problem(file, file.read_text()).message


def test_a_configuration_does_not_change(file: Path) -> None:
    file.write_text(SOUND)
    with pytest.raises(ValueError, match="frozen"):
        load(file).workers = 3  # type: ignore[misc]


def test_every_error_at_once_in_the_order_of_the_file(file: Path) -> None:
    found = problems(
        file,
        """\
log_levle = "info"
[[listeners]]
bind = ["localhost:443", 5]
[[routes]]
upsteam = "web"
[[routes]]
sni = "a*b"
upstream = "wbe"
mode = "terminat"
[upstreams.web]
servers = []
[[certificates]]
cert = "c.pem"
""",
    )
    assert [(problem.line, marked(problem), problem.suggestion) for problem in found] == [
        (1, "log_levle", "log_level"),
        (3, '"localhost:443"', "127.0.0.1:443"),
        (3, "5", None),
        (5, "upsteam", "upstream"),
        (7, '"a*b"', None),
        (8, '"wbe"', "web"),
        (9, '"terminat"', "terminate"),
        (11, "[]", None),
        (12, "[[certificates]]", None),
    ]


def test_it_looks_like_a_compiler(file: Path) -> None:
    found = problem(file, SOUND.replace("upstream", "upsteam"))
    keys = (
        "'name', 'sni', 'sni_regex', 'alpn', 'from', 'listener', 'tls', 'mode', 'upstream' or 'min_version'"
    )
    assert str(found).splitlines() == [
        f"{file}:5:1: error: unknown key 'upsteam' in [[routes]]",
        "  |",
        '5 | upsteam = "10.0.0.5:443"',
        "  | ^^^^^^^",
        f"  = expected {keys}",
        "  = did you mean 'upstream'?",
    ]


# (what is put instead of what, what the caret marks, a part of the message, the suggestion)
ONE_MISTAKE = [
    ("bind", "bnid", "bnid", "unknown key 'bnid' in [[listeners]]", "bind"),
    ('"0.0.0.0:443"', "[]", "[]", "an empty list", None),
    ('"0.0.0.0:443"', '["0.0.0.0:443", "0.0.0.0:443"]', '"0.0.0.0:443"', "bound twice", None),
    ('"0.0.0.0:443"', '"0.0.0.0:70000"', '"0.0.0.0:70000"', "a number from 0 to 65535", None),
    ("[[listeners]]", "[listeners]", "[listeners]", "'listeners' is one table", None),
    ("[[listeners]]", "[[listener]]", "listener", "unknown key 'listener'", "listeners"),
    ("[[listeners]]\n", "listeners = 5\n[upstreams.a]\n", "5", "wrong type: an integer", None),
    ("[[listeners]]\n", "workers = 2\n[[routes]]\n", None, "no listeners", None),
    ("sni", "SNI", "SNI", "unknown key 'SNI'", "sni"),
    ('"git.example.com"', "true", "true", "wrong type: a boolean", None),
    ('"git.example.com"', '"git.example.com"\nmode = "reject"', "upstream", "has no upstream", None),
    ('"git.example.com"', '"x"\nmin_version = "1.3"', "min_version", "no meaning", None),
    ('"git.example.com"', '"x"\nmin_version = 1.3\nmode = "terminate"', "1.3", "1.3 without quotes", None),
    ('"git.example.com"', '"x"\nmode = "terminate"', '"terminate"', "needs a certificate", None),
    ('"git.example.com"', '"x"\ntls = false', "sni", "sni with tls = false", None),
    ('sni = "git.example.com"', "tls = 0", "0", "wrong type: an integer", None),
    ('sni = "git.example.com"', 'tls = "false"', '"false"', "wrong type: a string", None),
    ('sni = "git.example.com"', 'tls = false\nalpn = "h2"', "alpn", "alpn with tls = false", None),
    ('sni = "git.example.com"', 'from = "10.1.2.3/8"', '"10.1.2.3/8"', "host bits", "10.0.0.0/8"),
    ('sni = "git.example.com"', "from = ['::/0', 'x']", "'x'", "'x' is not a network", None),
    ('sni = "git.example.com"', "sni_regex = '('", "'('", "unterminated subpattern", None),
    ('sni = "git.example.com"', 'listener = "0.0.0.0"', '"0.0.0.0"', "unknown listener", "0.0.0.0:443"),
    ('sni = "git.example.com"', 'idle_timeout = "5s"', "idle_timeout", "unknown key", None),
    ('sni = "git.example.com"', 'idle_timeot = "5s"', "idle_timeot", "unknown key", "idle_timeout"),
    ('upstream = "10.0.0.5:443"', "", "[[routes]]", "without an upstream", None),
    ('upstream = "10.0.0.5:443"', 'mode = "Reject"', '"Reject"', "unknown value 'Reject'", "reject"),
    ('"10.0.0.5:443"', '"10.0.0.5"', '"10.0.0.5"', "unknown upstream '10.0.0.5'", None),
    ('"10.0.0.5:443"', '"http://x:80"', '"http://x:80"', "not a URL", None),
    ('"10.0.0.5:443"', '"x:0"', '"x:0"', "a number from 1 to 65535", None),
    ('"10.0.0.5:443"', '"""\nx"""', '"""', "unknown upstream", None),
    ('"10.0.0.5:443"', '"a:1"\n[upstreams]\nservers = "b:1"', "servers", "without the name", None),
    ('"10.0.0.5:443"', '"a:1"\n[[upstreams]]\nname = "b"', "[[upstreams]]", "an array", None),
    ('"10.0.0.5:443"', '"a:1"\n[upstreams]\nworkers = 2', "workers", "unknown key 'workers'", None),
    ('"10.0.0.5:443"', '"a:1"\n[upstreams."b:2"]\nservers = "c:1"', '"b:2"', "can't be named 'b:2'", None),
    ('"10.0.0.5:443"', '"a:1"\n[upstreams.b]\nsevers = "c:1"', None, "", None),
    ("[[listeners]]", "workers = 0\n[[listeners]]", "0", "0 is out of range", None),
    ("[[listeners]]", 'workers = "2"\n[[listeners]]', '"2"', "wrong type: a string", None),
    ("[[listeners]]", 'workers = "atuo"\n[[listeners]]', '"atuo"', "not a number", "auto"),
    ("[[listeners]]", "access_log = false\n[[listeners]]", "false", "wrong type: a boolean", "off"),
    ("[[listeners]]", "hello_timeout = 2026-01-01\n[[listeners]]", "2026-01-01", "a date or time", None),
    ("[[listeners]]", 'user = ""\n[[listeners]]', '""', "an empty string", None),
    ("[[listeners]]", "max_hello_size = 1\n[[listeners]]", "1", "1 is out of range", None),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "mark", "message", "suggestion"), ONE_MISTAKE)
def test_one_mistake(
    file: Path, old: str, new: str, mark: str | None, message: str, suggestion: str | None
) -> None:
    assert old in SOUND
    found = problems(file, SOUND.replace(old, new, 1))
    if mark is None:
        assert any(message in problem.message for problem in found)
        return
    (only,) = [problem for problem in found if marked(problem) == mark or len(found) == 1]
    assert marked(only) == mark
    assert message in only.message
    assert only.suggestion == suggestion


def test_a_misspelt_key_is_not_said_to_be_missing_too(file: Path) -> None:
    assert len(problems(file, SOUND.replace("upstream", "upsteam"))) == 1


def test_a_top_level_key_after_a_table_is_told_where_to_go(file: Path) -> None:
    found = problem(file, "# c\nworkers = 2\n\n" + SOUND + 'hello_timeout = "5s"\n')
    assert found.hint == "hello_timeout is a top-level key: move it above line 4, the first [table]"


def test_references_are_checked_though_other_parts_are_wrong(file: Path) -> None:
    text = (
        SOUND.replace("10.0.0.5:443", "wbe") + '[upstreams.web]\nservers = 5\n[[routes]]\nlistener = "x"\n'
    )
    assert [(problem.line, problem.code) for problem in problems(file, text)] == [
        (5, "unknown-upstream"),
        (7, "wrong-type"),
        (8, "missing-upstream"),
        (9, "unknown-listener"),
    ]


def test_a_reference_to_something_broken_is_no_second_error(file: Path) -> None:
    text = SOUND.replace('"0.0.0.0:443"', "5").replace("10.0.0.5:443", "web")
    text += (
        'listener = "pub"\nmode = "terminate"\n[upstreams.web]\nservers = 5\n[[certificates]]\ncert = 5\n'
    )
    assert {problem.code for problem in problems(file, text)} == {"wrong-type", "missing-key"}


def test_what_may_be_given_once_says_where_the_first_is(file: Path) -> None:
    text = (
        SOUND.replace("bind", 'name = "a"\nbind')
        + '[[listeners]]\nname = "a"\nbind = ["*:0", "*:0", "0.0.0.0:443"]\n'
        + '[[routes]]\nname = "r"\nmode = "reject"\n[[routes]]\nname = "r"\nmode = "reject"\n'
        + '[[certificates]]\ncert = "a"\nkey = "a"\ndefault = true\n' * 2
    )
    assert [(problem.message, problem.line, problem.hint) for problem in problems(file, text)] == [
        ("two listeners named 'a'", 8, "the first is on line 2"),
        ("'0.0.0.0:443' is bound twice", 9, "the first is on line 3"),
        ("two routes named 'r'", 14, "the first is on line 11"),
        ("two certificates marked as the default", 23, "the first is on line 19"),
    ]


def test_the_name_of_a_route_without_one_is_taken(file: Path) -> None:
    text = SOUND + '[[routes]]\nname = "routes[{}]"\nsni = "b.test"\nmode = "reject"\n'
    found = problem(file, text.format(1))
    assert (found.message, found.line) == ("two routes named 'routes[1]'", 7)
    assert found.hint == "the first is on line 3"
    file.write_text(text.format(2))
    assert load(file).routes[1].name == "routes[2]"


@pytest.mark.parametrize(
    ("text", "line", "mark", "message"),
    [
        ("[[listeners]\n", 1, "]", "expected ']]'"),
        ("a = \n", 1, "=", "a value is missing"),
        ("upstream = web\n", 1, "web", "invalid value 'web'"),
        ("tls = False\n", 1, "False", "invalid value"),
        ("tls = yes\n", 1, "yes", "invalid value"),
        ("a = 1\na = 2\n", 2, "a = 2", "this key is there already"),
        ("[a]\n[a]\n", 2, "[a]", "this table is there already"),
        ("a = 'x' y\n", 1, "y", "something follows"),
        ("a b = 1\n", 1, "b", "a key without a value"),
        ("é = 1\n", 1, "é", "invalid statement"),
        ("a = [1,\n\n\n", 1, ",", "a value is missing"),
        ("a = [1\n\n\n", 1, "1", "unclosed array, at the end of the file"),
        ('a = """x\n\n', 1, "x", "unterminated string, at the end of the file"),
        ('a = "x\n', 1, "", "a string is not closed"),
        ("a = 2026-02-31\n", 1, "2", "invalid date"),
        ("a = '\x1b[31m'\n", 1, "\x1b", "invalid character"),
    ],
)
def test_syntax(file: Path, text: str, line: int, mark: str, message: str) -> None:
    found = problem(file, text)
    assert (found.line, found.code) == (line, "syntax")
    assert marked(found) == mark
    assert message in found.message.replace("found ", "")
    assert "\x1b" not in str(found)


def test_what_is_quoted_from_the_file_is_safe_on_a_terminal(file: Path) -> None:
    text = SOUND + '[upstreams."\\u001b[2J"]\nservres = "a:1"\n'
    found = problem(file, text)
    assert "\x1b" in found.message
    assert "\x1b" not in str(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is nothing in it"),
        (b"# only\n", "there is nothing in it"),
        (b"\xef\xbb\xbfworkers = 2", "byte order mark"),
        (b"\xff\xfew\0o\0", "UTF-16"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "integer"),
        (b"#" * (LARGEST + 1), "larger than"),
    ],
)
def test_files_that_are_no_configuration(file: Path, content: bytes, message: str) -> None:
    assert message in str(problem(file, content))


def test_a_byte_that_is_not_utf8_has_its_line(file: Path) -> None:
    found = problem(file, "a = 1\nüb = 'x".encode() + b"\xff'\n")
    assert (found.line, found.column, found.message) == (2, 8, "not UTF-8: byte 0xff")


def test_what_can_not_be_read(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "none.toml", "no such file"),
        (tmp_path, "it is a directory"),
        (tmp_path / "none" / "\0", "it can't be read"),
    ]:
        with pytest.raises(ConfigErrors, match=message) as raised:
            load(path)
        assert not raised.value.only_flags


def test_windows_line_ends_do_not_move_a_place(file: Path) -> None:
    unix = problem(file, SOUND.replace("sni", "sin"))
    windows = problem(file, SOUND.replace("sni", "sin").replace("\n", "\r\n"))
    assert unix == windows


def test_a_long_line_is_cut_around_the_caret(file: Path) -> None:
    names = ", ".join(f'"n{number}.test"' for number in range(1000))
    text = str(problem(file, SOUND.replace('"git.example.com"', f"[{names}, 'a*']")))
    shown, caret = text.splitlines()[2:4]
    assert len(shown) < 200
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "'a*'"


@pytest.mark.parametrize("before", ["\t", "  ", '"日本", ', '"é", ', '"e\u0301", '])
def test_the_caret_stands_under_its_value(file: Path, before: str) -> None:
    text = str(problem(file, SOUND.replace('"git.example.com"', f"[{before}'a*']")))
    shown, caret = text.splitlines()[2:4]
    assert caret.count("^") == 4
    width = {"\t": 0, "  ": 0, '"日本", ': 2, '"é", ': 0, '"e\u0301", ': -1}[before]
    assert caret.index("^") == shown.index("'a*'") + width


def test_a_tab_is_shown_as_blanks(file: Path) -> None:
    text = str(problem(file, SOUND.replace('"git.example.com"', "\t[\t'a*']")))
    assert text.splitlines()[2] == "4 | sni =     [    'a*']"


def test_a_listener_that_is_called_by_its_address_is_suggested_by_its_name(file: Path) -> None:
    text = SOUND.replace("bind", 'name = "public"\nbind') + 'listener = "0.0.0.0:443"\n'
    assert problem(file, text).suggestion == "public"


def test_ten_thousand_routes_load(file: Path) -> None:
    file.write_text(
        SOUND + "".join(f'[[routes]]\nsni = "n{n}.test"\nupstream = "a:1"\n' for n in range(10_000))
    )
    assert len(load(file).routes) == 10_001


def test_a_config_made_in_python_is_checked_in_the_same_way() -> None:
    with pytest.raises(ValueError, match="unknown upstream 'web'"):
        Config.model_validate({"listeners": [{"bind": "*:1"}], "routes": [{"upstream": "web"}]})

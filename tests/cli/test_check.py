"""`spyhole check` and `spyhole schema`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spyhole.cli import main
from spyhole.config.schema import json_schema
from support.certificates import Authority

SOUND = '[[listeners]]\nbind = "127.0.0.1:8443"\n[[routes]]\nsni = "git.test"\nupstream = "127.0.0.1:1"\n'


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*arguments: str, text: str | None = None) -> Result:
    if text is not None:
        Path("spyhole.toml").write_text(text)
    result = CliRunner().invoke(main, ["check", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_a_clean_configuration_is_one_line() -> None:
    result = check(text=SOUND)
    assert result.output == "spyhole.toml: ok: 1 listener, 1 route, 0 certificates\n"
    assert result.exit_code == 0


def test_warnings_alone_are_no_failure() -> None:
    result = check(text=SOUND + '[upstreams.web]\nservers = "a:1"\n[upstreams.api]\nservers = "a:1"\n')
    assert "spyhole.toml:6:12: warning: no route uses the upstream 'web'" in result.output
    assert result.output.endswith("spyhole.toml: ok: 1 listener, 1 route, 0 certificates; 2 warnings\n")
    assert result.exit_code == 0


def test_errors_fail() -> None:
    result = check(text=SOUND.replace("upstream", "upsteam").replace("bind", "bnid"))
    assert "spyhole.toml:2:1: error: unknown key 'bnid' in [[listeners]]" in result.output
    assert "spyhole.toml:5:1: error: unknown key 'upsteam' in [[routes]]" in result.output
    assert result.output.endswith("spyhole.toml: 2 errors\n")
    assert result.exit_code == 1


def test_certificates_are_read_in_spite_of_errors_elsewhere(authority: Authority) -> None:
    leaf, other = authority.issue("git.test"), authority.issue("other.test")
    pairs = [("cert = 1\n", leaf.key), ("", leaf.key), (f'cert = "{leaf.cert}"\n', other.key)]
    tables = "".join(f'[[certificates]]\n{cert}key = "{key}"\n' for cert, key in pairs)
    missing = '[[certificates]]\ncert = "nowhere.pem"\nkey = "nowhere.key"\n'
    result = check(text=SOUND.replace("sni", "sin") + tables + missing)
    errors = [line for line in result.output.splitlines() if ": error: " in line]
    assert [error.removeprefix("spyhole.toml:").partition(": error: ")[0] for error in errors] == [
        "4:1",
        "7:8",
        "9:1",
        "13:7",
        "15:8",
    ], errors
    assert "does not belong to the certificate" in errors[3]
    assert "no such file: 'nowhere.pem'" in errors[4]
    assert result.output.endswith("spyhole.toml: 5 errors\n")
    assert result.exit_code == 1


def test_certificates_are_checked_with_their_place(authority: Authority) -> None:
    leaf, other = authority.issue("git.test", expired=True), authority.issue("other.test")
    leaf.key.chmod(0o600)
    text = SOUND + f'mode = "terminate"\n[[certificates]]\ncert = "{leaf.cert}"\nkey = "{leaf.key}"\n'
    result = check(text=text)
    assert "spyhole.toml:8:8: warning: this certificate expired 1 day ago" in result.output
    assert result.exit_code == 0
    result = check(text=text.replace(str(leaf.key), str(other.key)))
    assert "spyhole.toml:9:7: error: the key in" in result.output
    assert "does not belong to the certificate" in result.output
    assert result.exit_code == 1


def test_errors_come_before_warnings(authority: Authority) -> None:
    text = SOUND + '[upstreams.web]\nservers = "a:1"\n[[certificates]]\ncert = "none"\nkey = "none"\n'
    problems = json.loads(check("--format", "json", text=text).output)
    assert [problem["severity"] for problem in problems] == ["error", "warning"]


def test_json_is_a_list_of_objects() -> None:
    result = check("--format", "json", text=SOUND.replace("upstream", "upsteam"))
    (problem,) = json.loads(result.output)
    assert problem.pop("expected").startswith("'name', 'sni', ")
    assert problem == {
        "message": "unknown key 'upsteam' in [[routes]]",
        "code": "unknown-key",
        "severity": "error",
        "file": "spyhole.toml",
        "flag": None,
        "line": 5,
        "column": 1,
        "length": 7,
        "source_line": 'upsteam = "127.0.0.1:1"',
        "suggestion": "upstream",
        "hint": None,
    }
    assert result.exit_code == 1
    assert json.loads(check("--format", "json", text=SOUND).output) == []


def test_a_file_that_is_not_there() -> None:
    result = check("-c", "none.toml")
    assert "none.toml: error: no such file" in result.output
    assert result.exit_code == 1
    (problem,) = json.loads(check("-c", "none.toml", "--format", "json").output)
    assert (problem["file"], problem["line"]) == ("none.toml", None)


def test_usage() -> None:
    for arguments in [[], ["--format", "xml"], ["--nonsense"], ["x"]]:
        assert check(*arguments).exit_code == 2
    assert "name the configuration with -c FILE" in check().output


def test_the_schema_is_json() -> None:
    result = CliRunner().invoke(main, ["schema"])
    assert json.loads(result.output) == json_schema()

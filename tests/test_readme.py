"""The front pages keep their word: every command, configuration, program and link in them is tried."""

from __future__ import annotations

import re
import shlex
import socket
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import spyhole
from spyhole.cli import main
from spyhole.cli.flags import config_from_flags
from support.backends import echo
from support.certificates import Authority
from support.clients import connect, read_to_end
from support.hellos import captured
from support.program import Program

TOP = Path(__file__).parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
LIBRARY = (TOP / "docs" / "library.md").read_text(encoding="utf-8")
ARCHITECTURE = (TOP / "ARCHITECTURE.md").read_text(encoding="utf-8")
PAGES = [*TOP.glob("*.md"), *(TOP / "docs").glob("*.md")]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_lines() -> list[list[str]]:
    lines = [line for block in blocks(README, "sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


SPYHOLE_LINES = [words for words in command_lines() if words[0] == "spyhole"]
MAKE_LINES = [words for words in command_lines() if words[0] == "make"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the certificates that the README's configurations speak of."""
    (tmp_path / "certs").mkdir()
    for folder in (tmp_path, tmp_path / "certs"):
        leaf = Authority(folder).issue(
            "www.example.com", "*.shop.example.com", "*.apps.example.com", file="www"
        )
        leaf.key.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_has_the_blocks_that_are_tested_here() -> None:
    assert len(blocks(README, "toml")) == 2
    assert len(blocks(README, "python")) == 1
    assert len(SPYHOLE_LINES) >= 8
    assert [words[1] for words in MAKE_LINES] == ["demo", "test"]
    assert len(re.findall("^```", README, re.MULTILINE)) == 2 * sum(
        len(blocks(README, language)) for language in ("sh", "toml", "python")
    )


@pytest.mark.parametrize("number", range(2))
def test_configurations_pass_check(here: Path, number: int) -> None:
    (here / "spyhole.toml").write_text(blocks(README, "toml")[number], encoding="utf-8")
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 0, result.output
    warnings = re.findall("warning: (.*)", result.output)
    assert [w for w in warnings if not w.startswith("this certificate expires in")] == []  # a throwaway one


def test_explain_as_in_the_readme(here: Path) -> None:
    (here / "spyhole.toml").write_text(blocks(README, "toml")[1], encoding="utf-8")
    (words,) = [words for words in SPYHOLE_LINES if words[1] == "explain"]
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, result.output
    assert "10.0.0.7:8080" in result.output


@pytest.mark.parametrize("words", MAKE_LINES, ids=" ".join)
def test_make_verbs_exist(words: list[str]) -> None:
    assert re.search(rf"^{words[1]}:", (TOP / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("words", SPYHOLE_LINES, ids=" ".join)
def test_commands_parse(here: Path, words: list[str]) -> None:
    _, name, *arguments = words
    arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
    with click.Context(main) as parent:
        command = main.get_command(parent, name)
        assert command is not None
        context = command.make_context(name, arguments, parent)
    if name == "run" and context.params["config_file"] is None:
        given = {key: value for key, value in context.params.items() if value not in (None, ())}
        flags = {"route": "routes", "cert": "certs", "key": "keys"}
        config_from_flags(**{flags.get(key, key): value for key, value in given.items()})


def test_every_command_is_named() -> None:
    with click.Context(main) as context:
        names = main.list_commands(context)
    assert {words[1] for words in SPYHOLE_LINES} == set(names)
    (row,) = re.findall(r"^\| Commands \| (.*) \|$", README, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(names)


@pytest.mark.parametrize("text", [README, LIBRARY, spyhole.__doc__], ids=["README", "library", "docstring"])
def test_the_program_runs(text: str | None, tmp_path: Path) -> None:
    assert text is not None
    program, *_ = [
        *blocks(text, "python"),
        re.sub(r"^    ", "", "\n".join(re.findall(r"^    .*|^$", text, re.MULTILINE)), flags=re.MULTILINE),
    ]
    hello = next(each for each in captured() if each.server_name)
    with echo("") as backend:
        program, count = re.subn(r'"[\d.]+:(9443|443)"', f'"{backend.address}"', program)
        assert count == 1
        assert '"127.0.0.1:8443"' in program
        program = program.replace("127.0.0.1:8443", "127.0.0.1:0")
        file = tmp_path / "program.py"
        file.write_text(f"import logging\nlogging.basicConfig(level=logging.INFO)\n{program}")
        with Program(sys.executable, "-Wd", "-u", file) as running:
            host, port = running.wait_for(r"listening on (.+):(\d+)").groups()
            with connect((host, int(port))) as client:
                client.sendall(hello.wire)
                client.shutdown(socket.SHUT_WR)
                assert read_to_end(client) == b"\n" + hello.wire
            assert "Traceback" not in running.text


def test_the_library_page_without_sockets() -> None:
    tried = 0
    for block in blocks(LIBRARY, "python"):
        code = compile(block, "docs/library.md", "exec")
        if "assert" in block:
            exec(code, {"spyhole": spyhole})
            tried += 1
    assert tried == 2


def test_the_library_page_names_what_there_is() -> None:
    for name in re.findall(r"spyhole\.(\w+)", README + LIBRARY):
        assert name in spyhole.__all__ or name in {"toml", "schema", "test"}, name
    for name in spyhole.__all__:
        assert hasattr(spyhole, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings], target


def test_the_map_is_true() -> None:
    layers = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = [name for layer in layers["layers"] for name in re.findall(r"\w+", layer)]
    there = [
        name for name in floors if list((TOP / "src" / "spyhole").glob(f"{name}*")) and name != "__main__"
    ]
    table = re.findall(r"^\| (`.*?) \|", ARCHITECTURE.split("## Floors")[1].split("##")[0], re.MULTILINE)
    assert [re.sub(r"/|\.py", "", name) for row in table for name in re.findall(r"`(.*?)`", row)] == there
    for path in re.findall(r"`([\w/.]+(?:\.py|\.md|/))`", ARCHITECTURE):
        places = [TOP / path, TOP / "src" / "spyhole" / path]
        places += [folder / path for folder in (TOP / "src" / "spyhole").iterdir() if folder.is_dir()]
        assert any(place.exists() for place in places), path

"""The benchmark as it is run, on works so short that their figures mean nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import proc
from support.tools import needs

ROOT = Path(__file__).resolve().parents[2]

TERMINATOR = '''
"""A peer in one small file: a TLS terminator that issues {tickets} tickets."""
import sys
from pathlib import Path

NAME = "{name}"
DOES = frozenset({{"terminate"}})


def version():
    return "1"


def command(job):
    [backend] = job.routes.values()
    script = job.write("server.py", [SERVER])
    certificate = job.certificate
    return [sys.executable, str(script), job.listen, backend, str(certificate.chain), str(certificate.key)]


SERVER = """
import asyncio, ssl, sys
listen, backend, chain, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
context.num_tickets = {tickets}

async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def serve(reader, writer):
    host, port = backend.split(":")
    there = await asyncio.open_connection(host, int(port))
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)

async def main():
    host, port = listen.split(":")
    async with await asyncio.start_server(serve, host, int(port), ssl=context) as server:
        await server.serve_forever()

asyncio.run(main())
"""
'''


MORTAL = '''
"""A peer that passes sixty connections on and dies of the next: for good, if there is a GRAVE for it."""
import sys

NAME = "mortal"
DOES = frozenset({"pass"})


def version():
    return "1"


def command(job):
    script = job.write("proxy.py", [PROXY])
    backends = [job.routes[f"{name}.bench.test"] for name in ("reply", "echo")]
    return [sys.executable, str(script), job.listen, *backends]


PROXY = """
import asyncio, os, sys
listen, reply, echo = sys.argv[1:]
grave = os.environ.get("GRAVE")
passed = 0
if grave and os.path.exists(grave):
    sys.exit(7)

async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.write_eof()

async def serve(reader, writer):
    global passed
    passed += 1
    if passed > 60:
        if grave:
            open(grave, "w").close()
        os._exit(9)
    hello = await reader.read(65536)
    host, port = (echo if b"echo" in hello else reply).split(":")
    there = await asyncio.open_connection(host, int(port))
    there[1].write(hello)
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer), return_exceptions=True)
    writer.close()
    there[1].close()

async def main():
    host, port = listen.split(":")
    async with await asyncio.start_server(serve, host, int(port)) as server:
        await server.serve_forever()

asyncio.run(main())
"""
'''


def bench(output: Path, *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--output", str(output), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((output / "quick.json").read_text())
    return found


@needs("gcc")
def test_spyhole_does_a_work_of_every_shape(tmp_path: Path) -> None:
    keys = "setup-reset,setup-permuted,rr-100-64"
    keys += ",bulk-up-1,bulk-down-16,tls-full,tls-resumed,tls-up-1,tls-down-1"
    keys += ",fair-tls,idle-1000,held-0,setup-log,machine-rr"
    found = bench(tmp_path, "--peers", "spyhole", "--works", keys)
    assert found["failures"] == []
    figures = {sample["work"]: sample["figure"] for sample in found["samples"]}
    assert set(figures) == set(keys.split(","))
    assert all(figure > 0 for figure in figures.values())
    loads = {sample["work"]: sample["load"] for sample in found["samples"]}
    assert loads["tls-full"]["resumed"] == 0
    assert loads["tls-resumed"]["resumed"] == loads["tls-resumed"]["operations"] > 0
    assert loads["fair-tls"]["beside_bytes"] > 0
    assert "## TLS 1.3, terminated" in (tmp_path / "quick.md").read_text()
    assert (tmp_path / "quick-tls.svg").exists()


@needs("gcc")
def test_what_fails_is_left_out_with_its_reason_and_the_rest_is_not_lost(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        'NAME = "broken"\nDOES = frozenset({"pass"})\ndef version(): return "1"\n'
        'def command(job): return ["sh", "-c", "echo that is no good >&2; exit 3"]\n'
    )
    flags = []
    for tickets in (0, 2):
        path = tmp_path / f"tickets_{tickets}.py"
        path.write_text(TERMINATOR.format(name=f"tickets-{tickets}", tickets=tickets))
        flags += ["--peer-file", str(path)]
    flags += ["--peer-file", str(broken), "--peers", "broken,tickets-0,tickets-2,spyhole"]
    found = bench(tmp_path, *flags, "--works", "setup-fin,tls-full,tls-resumed")
    reasons = {(failure["peer"], failure["work"]): failure["reason"] for failure in found["failures"]}
    assert reasons == {
        ("broken", "setup-fin"): "it ended with status 3: that is no good",
        ("tickets-0", "tls-resumed"): "it issues no session ticket",
    }
    done = {(sample["peer"], sample["work"]) for sample in found["samples"]}
    assert done == {
        *(("spyhole", work) for work in ("setup-fin", "tls-full", "tls-resumed")),
        ("tickets-0", "tls-full"),
        *(("tickets-2", work) for work in ("tls-full", "tls-resumed")),
    }
    assert "it issues no session ticket" in (tmp_path / "quick.md").read_text()


@needs("gcc")
@pytest.mark.parametrize("for_good", [False, True])
def test_a_peer_that_dies_is_started_again_and_named_where_it_misses(
    for_good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal = tmp_path / "mortal.py"
    mortal.write_text(MORTAL)
    if for_good:
        monkeypatch.setenv("GRAVE", str(tmp_path / "grave"))
    flags = "--peer-file", str(mortal), "--peers", "mortal,spyhole", "--works", "setup-fin,rr-100-1"
    found = bench(tmp_path, *flags)
    missed = [("mortal", "setup-fin"), *([("mortal", "rr-100-1")] if for_good else [])]
    assert [(failure["peer"], failure["work"]) for failure in found["failures"]] == missed
    assert {(sample["peer"], sample["work"]) for sample in found["samples"]} == {
        (peer, work) for peer in ("spyhole", "mortal") for work in ("setup-fin", "rr-100-1")
    } - set(missed)


@needs("gcc")
def test_an_interrupt_ends_every_process_and_writes_what_was_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--rounds", "1000", "--output", str(tmp_path)]
    with subprocess.Popen(
        [*command, "--peers", "spyhole", "--works", "rr-100-64,tls-full"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "rr-100-64" in process.stdout.readline()
        family = proc.tree(process.pid)
        assert len(family) >= 3  # itself, and at least one proxy of two processes
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.wait()
    assert "interrupted" in rest, rest
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    found = json.loads((tmp_path / "full-interrupted.json").read_text())
    assert {(sample["work"], sample["peer"]) for sample in found["samples"]} >= {("rr-100-64", "spyhole")}
    assert not (tmp_path / "full.json").exists()

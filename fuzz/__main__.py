"""`make fuzz`: run each target under atheris for so many executions; fail when one finds something.

    python -m fuzz [--runs 40000] [--seconds 60] [TARGET …]   # what is new is kept in fuzz/build
    python -m fuzz --replay FILE TARGET                        # one input, without the fuzzer
    python -m fuzz --merge [TARGET …]                          # the least that reaches it all: fuzz/corpus

An input that breaks something is written to fuzz/build/TARGET-crash-…, with its traceback on the terminal.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
CORPUS: Final = HERE / "corpus"
BUILD: Final = HERE / "build"
NAMES: Final = ("first_bytes", "extensions", "der", "familiar", "server_name", "pattern", "tls")
_DONE: Final = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED: Final = re.compile(r"cov: (\d+) ft: (\d+)")


class Outcome(NamedTuple):
    """How one target went. `covered`: edges of Python code; 0 where the fuzzer did not say."""

    status: int
    executions: int
    seconds: float
    covered: int


def main() -> int:
    """Exit status 1 when a target failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="fuzz what reads a peer's bytes")
    parser.add_argument(
        "--runs", type=int, default=40_000, help="executions a target (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=int, default=60, help="the longest a target may take (%(default)s)"
    )
    parser.add_argument("--replay", metavar="FILE", type=Path, help="run one input through one target")
    parser.add_argument("--merge", action="store_true", help="minimise what was found into fuzz/corpus")
    parser.add_argument("targets", metavar="TARGET", nargs="*", help=f"of {', '.join(NAMES)}; default: all")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.targets) - set(NAMES))
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}")
    if arguments.replay:
        if len(arguments.targets) != 1:
            parser.error("--replay needs one target")
        return replay(arguments.replay, arguments.targets[0])
    chosen = arguments.targets or NAMES
    if arguments.merge:
        for name in chosen:
            merge(name)
        return 0
    return fuzz(chosen, arguments.runs, arguments.seconds)


def fuzz(names: tuple[str, ...] | list[str], runs: int, seconds: int) -> int:
    """Run the targets one after the other and print what each did."""
    from fuzz.targets import TARGETS

    print(f"{'target':<12} {'executions':>10} {'seconds':>8} {'edges':>6}  outcome", flush=True)
    total, failed = 0, 0
    for name in names:
        BUILD.joinpath(name).mkdir(parents=True, exist_ok=True)
        wanted = max(1, round(runs * TARGETS[name].share))
        flags = [f"-runs={wanted}", f"-max_total_time={seconds}", f"-artifact_prefix={BUILD / name}-"]
        outcome = child(name, *flags, BUILD / name, CORPUS / name)
        total += outcome.executions
        failed += outcome.status != 0
        verdict = "ok" if outcome.executions >= wanted else f"ok, but not {wanted:,}: {seconds} s were over"
        if outcome.status:
            verdict = f"FAILED: see {BUILD / name}-crash-*"
        print(
            f"{name:<12} {outcome.executions:>10,} {outcome.seconds:>8.1f} {outcome.covered:>6}  {verdict}",
            flush=True,
        )
    print(f"{total:,} executions, {failed} of {len(names)} targets failed")
    return 1 if failed else 0


def child(name: str, *flags: str | Path) -> Outcome:
    """A target under libFuzzer, in a process of its own; what it says is shown only if it fails."""
    words = [sys.executable, "-m", "fuzz.under", name, f"-max_len={_longest(name)}", *map(str, flags)]
    began = time.monotonic()
    done = subprocess.run(
        words, cwd=HERE.parent, capture_output=True, text=True, errors="replace", check=False
    )
    took = time.monotonic() - began
    said = done.stdout + done.stderr
    if done.returncode:
        told = [line for line in said.splitlines() if not line.startswith(("INFO", "WARNING", "#"))]
        print("\n".join(told), file=sys.stderr)
    executions = _DONE.search(said)
    covered = _COVERED.findall(said)
    return Outcome(
        done.returncode,
        int(executions[1]) if executions else _executed(said),
        took,
        int(covered[-1][0]) if covered else 0,
    )


def _executed(said: str) -> int:
    found = re.findall(r"^#(\d+)\s", said, re.MULTILINE)
    return int(found[-1]) if found else 0


def _longest(name: str) -> int:
    from fuzz.targets import TARGETS

    return TARGETS[name].longest


def replay(path: Path, name: str) -> int:
    """Raises what the target raises."""
    from fuzz.targets import TARGETS

    TARGETS[name].run(path.read_bytes())
    print(f"{name}: {path} breaks nothing")
    return 0


def merge(name: str) -> None:
    """Make the corpus of a target the fewest inputs that reach all that seeds, corpus and build do."""
    from fuzz.seeds import seeds

    with tempfile.TemporaryDirectory() as directory:
        begin, least = Path(directory, "seeds"), Path(directory, "least")
        begin.mkdir()
        least.mkdir()
        for seed in seeds(name):
            Path(begin, hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
        sources = [path for path in (CORPUS / name, BUILD / name) if path.is_dir()]
        outcome = child(name, "-merge=1", least, begin, *sources)
        if outcome.status:
            raise SystemExit(f"{name}: merging failed")
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        shutil.copytree(least, CORPUS / name)
    files = [*Path(CORPUS, name).iterdir()]
    print(f"{name}: {len(files)} inputs, {sum(file.stat().st_size for file in files):,} bytes")


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench`: measure the proxies that are installed, in turn, several times over."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import tempfile
from pathlib import Path

from bench import peers, programs, report
from bench.running import Running
from bench.works import WORKS, Sample, Work, measure

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the benchmark and write its results."""
    flags = _flags()
    programs.build()
    found, absent = _peers(flags.peers, flags.peer_file)
    works = _works(flags.works)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        samples = _measure([peer for peer, _ in found], works, Path(name), flags)
    versions = {peer.NAME: version for peer, version in found}
    _write(flags.output, works, samples, versions, absent, flags.quick)


def _measure(
    found: list[peers.Peer], works: list[Work], directory: Path, flags: argparse.Namespace
) -> list[Sample]:
    samples: list[Sample] = []
    rounds = flags.rounds or (3 if flags.quick else 5)
    proxy_cores, load_cores = _cores(flags.unpinned)
    proxies: dict[str, Running] = {}
    try:
        for peer in found:
            proxies[peer.NAME] = Running(peer, directory / peer.NAME, proxy_cores)
        for number in range(rounds):
            for work in works:
                # whoever goes first in one round goes last in the next
                for peer in found if number % 2 == 0 else reversed(found):
                    proxy = proxies[peer.NAME]
                    if work.mode == "idle":  # memory is that of a process that did nothing else
                        proxy = Running(peer, directory / f"{peer.NAME}.{work.key}.{number}", proxy_cores)
                    try:
                        sample = measure(work, proxy, number, directory, load_cores, flags.quick)
                    finally:
                        if proxy is not proxies[peer.NAME]:
                            proxy.end()
                    samples.append(sample)
                    figure = f"{sample.figure:9.1f} {work.unit}"
                    print(f"{number + 1}/{rounds}  {work.name:30} {peer.NAME:12} {figure}", flush=True)
    finally:
        for proxy in proxies.values():
            proxy.end()
    return samples


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the operations, three rounds")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5; --quick: 3)")
    parser.add_argument("--peers", help="only these, separated by commas")
    parser.add_argument(
        "--peer-file", type=Path, action="append", default=[], help="another proxy: see bench/peers"
    )
    parser.add_argument(
        "--works", help=f"only these, separated by commas: {', '.join(work.key for work in WORKS)}"
    )
    parser.add_argument("--unpinned", action="store_true", help="let the kernel choose the cores")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory for the results")
    return parser.parse_args()


def _peers(names: str | None, files: list[Path]) -> tuple[list[tuple[peers.Peer, str]], list[str]]:
    wanted = names.split(",") if names else None
    found, absent = [], []
    for peer in peers.find(files):
        if wanted is not None and peer.NAME not in wanted:
            continue
        version = peer.version()
        if version is None:
            absent.append(peer.NAME)
        else:
            found.append((peer, version))
    for name in absent:
        print(f"left out, since it is not installed: {name}")
    return found, absent


def _works(keys: str | None) -> list[Work]:
    if keys is None:
        return list(WORKS)
    by_key = {work.key: work for work in WORKS}
    try:
        return [by_key[key] for key in keys.split(",")]
    except KeyError as error:
        raise SystemExit(f"--works: there is no {error}; there are {', '.join(by_key)}") from None


def _cores(unpinned: bool) -> tuple[set[int], set[int]]:
    """The proxy's, and those of the load generator and the backend."""
    cores = sorted(os.sched_getaffinity(0))
    if unpinned or len(cores) < 2:
        return set(cores), set(cores)
    return {cores[0]}, set(cores[1:])


def _write(
    output: Path,
    works: list[Work],
    samples: list[Sample],
    versions: dict[str, str],
    absent: list[str],
    quick: bool,
) -> None:
    output.mkdir(exist_ok=True)
    stem = output / ("quick" if quick else "full")
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} × {_processor()}",
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "versions": versions,
        "left_out": absent,
    }
    stem.with_suffix(".json").write_text(
        json.dumps(about | {"samples": [sample.as_json() for sample in samples]}, indent=1) + "\n"
    )
    figures, speeds = report.table(works, samples), report.rates(works, samples)
    who = ", ".join(f"{name} {version}" for name, version in versions.items())
    page = (
        "CPU time of the proxy per operation, and memory per idle connection: median (least–most).\n"
        f"{who}; Linux {about['kernel']}, Python {about['python']}, {about['machine']}.\n\n"
        f"{figures}\n{speeds}"
    )
    stem.with_suffix(".md").write_text(page)
    print("\n" + page)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()

"""`python -m bench`: measure the proxies that are there, in turn, several times. See bench/README.md."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bench import certificate, machine, network, peers, place, plot, proc, programs, report
from bench.measuring import Pace
from bench.results import Results
from bench.rounds import Rounds
from bench.running import TLS_NAME
from bench.works import Work, network_works, works

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
_DESCRIPTORS = 65_536
_QUICK = Pace(share=0.15, slices=3)


def main() -> None:
    """Run the benchmark and write its results."""
    flags = _flags()
    _many_descriptors()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    programs.build()
    found, absent = _peers(flags.peers, flags.peer_file)
    wanted = _works(flags.works, network_works() if flags.network else works(flags.quick))
    places = {
        "pinned": place.unpinned() if flags.unpinned else place.pinned(),
        "unpinned": place.unpinned(),
    }
    with network.made(flags.network) as over, tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # for those that give up root
        rounds = Rounds(
            places | over,
            directory,
            certificate.make(directory, TLS_NAME),
            flags.rounds or (2 if flags.quick else 5),
            _QUICK if flags.quick else Pace(),
            _telling(),
        )
        interrupted = False
        try:
            rounds.run([peer for peer, _ in found], wanted)
        except KeyboardInterrupt:
            interrupted = True
        except Exception:  # a mistake of ours: it must not cost what was measured before it
            traceback.print_exc()
            interrupted = True
        finally:
            proc.end_descendants()
    stem = ("network-" if flags.network else "") + ("quick" if flags.quick else "full")
    about = machine.about() | {
        "run": stem + (", interrupted" if interrupted else ""),
        "rounds": rounds.rounds,
        "versions": {peer.NAME: version for peer, version in found},
        "left_out": absent,
    }
    notes = {peer.NAME: peers.note(peer) for peer, _ in found if peers.note(peer)}
    if interrupted:
        stem += "-interrupted"
    if rounds.samples:
        _write(flags.output, stem, Results(about, notes, wanted, rounds.samples, rounds.failures))
    if interrupted or not rounds.samples:
        raise SystemExit("interrupted" if interrupted else "nothing was measured")


def _write(output: Path, stem: str, results: Results) -> None:
    output.mkdir(parents=True, exist_ok=True)
    page = report.page(results)
    (output / f"{stem}.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    (output / f"{stem}.md").write_text(page)
    for kind, svg in plot.sheets(results).items():
        (output / f"{stem}-{kind}.svg").write_text(svg)
    print(f"\n{page}\nwritten to {output}/{stem}.*")


def _telling() -> Callable[[str], None]:
    """Prints lines with the minutes and seconds that have passed."""
    began = time.monotonic()

    def tell(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"{minutes:2}:{seconds:02}  {line}", flush=True)

    return tell


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a seventh of the time for each, two rounds")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5; --quick: 2)")
    parser.add_argument("--peers", help="only these, separated by commas")
    parser.add_argument(
        "--peer-file", type=Path, action="append", default=[], help="another proxy: see bench/peers"
    )
    keys = ", ".join(work.key for work in works(True))
    parser.add_argument("--works", help=f"only these, separated by commas, or kinds of them: {keys}")
    parser.add_argument("--unpinned", action="store_true", help="let the kernel choose the cores")
    parser.add_argument("--network", action="store_true", help="a few works, over slow networks (as root)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the directory for the results")
    return parser.parse_args()


def _peers(names: str | None, files: list[Path]) -> tuple[list[tuple[peers.Peer, str]], list[str]]:
    wanted = names.split(",") if names else None
    every = peers.find(files)
    if wanted is not None and (unknown := set(wanted) - {peer.NAME for peer in every}):
        known = ", ".join(peer.NAME for peer in every)
        raise SystemExit(f"--peers: there is no {', '.join(sorted(unknown))}; there are {known}")
    found, absent = [], []
    for peer in every:
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


def _works(keys: str | None, every: list[Work]) -> list[Work]:
    if keys is None:
        return every
    wanted = keys.split(",")
    if unknown := set(wanted) - {work.key for work in every} - {work.kind for work in every}:
        known = ", ".join(dict.fromkeys([*(work.kind for work in every), *(work.key for work in every)]))
        raise SystemExit(f"--works: there is no {', '.join(sorted(unknown))}; there are {known}")
    chosen = [work for work in every if work.key in wanted or work.kind in wanted]
    beside = {work.setting for work in chosen if work.setting.crowded and work.mode != "idle"}
    return [work for work in every if work in chosen or (work.mode == "idle" and work.setting in beside)]


def _many_descriptors() -> None:
    """Those that splice hold up to six for a connection, and 8,000 are to be held."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, _DESCRIPTORS), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (ValueError, OSError):
            continue
        break


def _interrupted(*_: object) -> NoReturn:
    """Once: what was started is being ended then, and what was measured written."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

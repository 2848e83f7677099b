"""`make soak`: wear a proxy down for so long, and say what is left. Exit status 1 if something is wrong."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from soak.run import soak


def main() -> int:
    """Run, and print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m soak", description="wear a proxy down, then look at it"
    )
    parser.add_argument("--seconds", type=float, default=180.0, help="how long (default: %(default)g)")
    parser.add_argument("--clients", type=int, default=40, help="clients at once (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="another order of things (default: %(default)s)"
    )
    arguments = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="spyhole-soak-") as directory:
        report = soak(Path(directory), arguments.seconds, arguments.clients, arguments.seed, say)
    print("\n".join(report.lines))
    print(f"{len(report.wrong)} things are wrong" if report.wrong else "nothing is left")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

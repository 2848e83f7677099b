"""`python -m fuzz.under TARGET [FLAG …] [DIRECTORY …]`: one target under libFuzzer, with its own flags."""

from __future__ import annotations

import shlex
import sys

import atheris

with atheris.instrument_imports(include=["spyhole"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    _, name, *flags = sys.argv
    # -merge runs itself anew: libFuzzer hands the first word and what follows to a shell
    itself = f"{shlex.quote(sys.executable)} -m fuzz.under {name}"
    atheris.Setup([itself, *flags], TARGETS[name].run)
    atheris.Fuzz()

"""Puts results into docs/conformance.md: `python scripts/make_conformance_page.py RESULT.json …`.

    spyhole conformance --peer spyhole --format json > spyhole.json
    spyhole conformance --peer haproxy --peer nginx --format json > others.json
    …

A column for each proxy, in the order given, between the two marks on the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spyhole.conformance.document import markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"
BEGIN, END = "<!-- results: made by scripts/make_conformance_page.py -->", "<!-- end of results -->"


def main(files: list[str]) -> None:
    """Without a file, or without the marks, the page stays as it is."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (files and begin and end):
        sys.exit(__doc__ if begin and end else f"{PAGE} has no {BEGIN!r} and {END!r}")
    documents = []
    for file in files:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        documents += found if isinstance(found, list) else [found]
    text = "\n".join([BEGIN, "", markdown(documents).strip(), "", END])
    PAGE.write_text(before + text + after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

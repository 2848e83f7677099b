"""Puts results into docs/conformance.md: `python scripts/make_conformance_page.py RESULT.json …`.

    spyhole conformance --peer spyhole --format json > spyhole.json
    spyhole conformance --peer haproxy --format json > haproxy.json
    …

A column for each result, in the order given, between the two marks on the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spyhole.conformance.document import markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"
BEGIN, END = "<!-- results: made by scripts/make_conformance_page.py -->", "<!-- end of results -->"


def main(files: list[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    documents = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
    text = "\n".join([BEGIN, "", markdown(documents).strip(), "", END])
    PAGE.write_text(before + text + after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

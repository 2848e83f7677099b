"""What docs/routing.md says is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spyhole.config.loader import load
from spyhole.config.routes import routes_of
from spyhole.routing.table import RouteTable

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "routing.md").read_text()


def cells(header: str) -> list[list[str]]:
    """The rows of the table that begins with `header`, without back quotes."""
    table = PAGE[PAGE.index(header) :].partition("\n\n")[0]
    return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]


@pytest.mark.parametrize("row", cells("| server name | ALPN"))
def test_the_example(row: list[str], tmp_path: Path) -> None:
    name, alpn, client, route = row
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    file = tmp_path / "spyhole.toml"
    file.write_text(example[1])
    table = RouteTable(routes_of(load(file)))
    decision = table.match(name or None, (alpn.encode(),) if alpn else (), client, "public")
    assert (decision.route.name if decision.route else "refused") == route

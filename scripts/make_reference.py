"""Writes docs/configuration.md from the configuration's model: `python scripts/make_reference.py`.

A test compares the page with `reference()` and fails when it is stale.
"""

from __future__ import annotations

from pathlib import Path

from spyhole.config.describe import Key, example, keys, scalar_keys
from spyhole.config.model import Certificate, Group, Listener, Route, Section, UpstreamConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

HEAD = """\
<!-- made by scripts/make_reference.py from src/spyhole/config/model.py: edit that, then run it again -->
# Configuration

A configuration is a TOML file, by default `spyhole.toml`. `spyhole check -c FILE` shows all that is wrong
with one. `spyhole schema` prints its JSON Schema, with which editors complete and check keys.
Whole examples are in [examples/configs](../examples/configs).

```toml
[[listeners]]
bind = ["0.0.0.0:443", "[::]:443"]

[[routes]]
sni = "git.example.com"
upstream = "10.0.0.5:443"
```

Top-level keys stand above the first `[table]`, as TOML wants it. Each of them is also a flag of
`spyhole run`, by the same name with dashes (`hello_timeout`: `--hello-timeout`), which wins over the file.

| kind of value | written |
|---|---|
| duration | `"250ms"`, `"5s"`, `"2m"`, `"1h"`, `"1d"`, or a number of seconds; at most a year |
| size in bytes | a number, or `"64KiB"`, `"1MiB"` |
| address | `"10.0.0.5:443"`, `"[::1]:443"`, `"name:443"`, `"unix:/path"` |
| name pattern | `"example.com"`; `"*.example.com"`, one label more; `"**.example.com"`, any depth; `"*"` |
| network | `"10.0.0.0/8"`, `"2001:db8::/32"`, or one address |
| path | relative to the configuration file, in `unix:` too; on the command line, to the working directory |
"""


def reference() -> str:
    """The whole page."""
    by_group = {group: [key for key in scalar_keys() if key.group is group] for group in Group}
    parts = [
        HEAD,
        *(f"## {group}\n\n{_table(rows)}" for group, rows in by_group.items()),
        _section("[[listeners]]", Listener),
        _section("[[routes]]", Route),
        _section("[upstreams.NAME]", UpstreamConfig),
        _section("[[certificates]]", Certificate),
    ]
    return "\n".join(parts)


def _section(header: str, model: type[Section]) -> str:
    about = " ".join((model.__doc__ or "").split())
    return f"## `{header}`\n\n{about}\n\n{_table(keys(model))}"


def _table(rows: list[Key]) -> str:
    lines = ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    for key in rows:
        kind = key.kind.name + (", or a list" if key.many else "")
        default = "required" if key.required else f"`{key.default}`" if key.default is not None else "–"
        meaning = key.description.removesuffix(" One, or a list.")
        cells = [f"`{key.name}`", kind, default, meaning, f"`{example(key)}`"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference())

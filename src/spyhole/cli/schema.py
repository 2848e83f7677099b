"""`spyhole schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json

import click

from spyhole.config.schema import json_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration.

    For editors that complete and check TOML (taplo, Even Better TOML): save it, and begin the
    configuration with the line `#:schema ./spyhole.schema.json`.

    \b
    Example:
      spyhole schema > spyhole.schema.json
    """
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))

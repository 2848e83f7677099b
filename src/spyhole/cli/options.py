"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spyhole.config.loader import DEFAULT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

config_option = click.option(
    "-c",
    "--config",
    "file",
    metavar="FILE",
    help=f"The configuration.  [default: {DEFAULT_FILE}, if there is one]",
)


def format_option(text: str, *others: str) -> Callable[[Any], Any]:
    """`--format`: text, json, or one of the others."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(["text", "json", *others]),
        default="text",
        show_default=True,
        help=text,
    )


def file_or_default(file: str | None) -> str:
    """What `config_option` names, else the file that is here; UsageError without one."""
    if file is not None:
        return file
    if not Path(DEFAULT_FILE).exists():
        raise click.UsageError(f"there is no {DEFAULT_FILE} here: name the configuration with -c FILE")
    return DEFAULT_FILE

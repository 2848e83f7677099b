"""How a command that fails says so: one line that begins with `error: `, and for a wrong command line where
to read on. The errors of a configuration look the same (`config/problems.py`)."""

from __future__ import annotations

import click

from spyhole.config.problems import nearest


def show(error: click.ClickException) -> None:
    """On standard error."""
    click.echo(f"error: {_message(error)}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)


def _message(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption):
        # Click's own guesses are up to three, and differ from one version to the next.
        message = f"no such option {error.option_name!r}"
        known = [] if error.ctx is None else error.ctx.command.get_params(error.ctx)
        names = [name for parameter in known for name in parameter.opts if name.startswith("--")]
        meant = nearest(error.option_name.lstrip("-"), [name[2:] for name in names])
        return f"{message}, did you mean '--{meant}'?" if meant else message
    message = error.format_message().removesuffix(".")
    # Click begins with a capital. A word all of capitals is an argument's name.
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]

"""The command line: one file a command, gathered here."""

from __future__ import annotations

import sys
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    "run": "Run the proxy.",
    "check": "Check a configuration, without running it.",
    "explain": "Show which route a connection would take, and why.",
    "hello": "Decode a ClientHello.",
    "conformance": "Play hostile and legal clients against a proxy, this one or another.",
    "demo": "See it work, with throwaway certificates and backends.",
    "schema": "Print the JSON Schema of the configuration.",
}


class _Commands(click.Group):
    """Imports a command's module when it is called for: `spyhole --help` and completion stay quick."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            status = super().main(args, prog_name, complete_var, False, **extra)
        except click.ClickException as error:
            from spyhole.cli.errors import show

            show(error)
            status = error.exit_code
        except click.Abort:  # Ctrl-C
            status = 130
        sys.exit(status)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not ctx.resilient_parsing and not name.startswith("-"):
            from spyhole.config.problems import nearest

            meant = nearest(name, _COMMANDS)
            ctx.fail(f"no such command {name!r}" + (f", did you mean {meant!r}?" if meant else ""))
        return super().resolve_command(ctx, args)

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"spyhole.cli.{cmd_name}"), cmd_name)
        command.short_help = _COMMANDS[cmd_name]
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(metadata.version("spyhole"), prog_name="spyhole")
@click.pass_context
def main(context: click.Context) -> None:
    """A TLS-aware TCP proxy: routes TLS by server name, passes it through or terminates it.

    \b
    Try it:          spyhole demo
    Route two names: spyhole run --listen 127.0.0.1:8443 --route git.example.com=10.0.0.5:443 \\
                                 --route '*=10.0.0.6:443'
    From a file:     spyhole check -c spyhole.toml && spyhole run -c spyhole.toml
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)

"""`spyhole check`: everything that is wrong with a configuration, and what is probably wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spyhole.certs.lint import errors_in
from spyhole.certs.lint import lint as lint_certificates
from spyhole.cli.options import config_option, file_or_default, format_option
from spyhole.config.lint import lint
from spyhole.config.loader import build, read
from spyhole.config.problems import ConfigErrors, Severity, render
from spyhole.config.validate import sound_certificates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.config.model import Config
    from spyhole.config.problems import Problem


@click.command()
@config_option
@format_option("For people, or a list of objects for machines.")
@click.pass_context
def check(context: click.Context, file: str | None, format_: str) -> None:
    """Check a configuration and its certificates, without running it.

    Shows every error at once, then warnings. Exit code: 0 without errors, warnings or not; 1 with
    errors; 2 for a wrong command line.

    \b
    Examples:
      spyhole check
      spyhole check -c /etc/spyhole/spyhole.toml --format json
    """
    file = file_or_default(file)
    config, problems = examine(file)
    failed = any(problem.severity is Severity.ERROR for problem in problems)
    if format_ == "json":
        click.echo(json.dumps([problem.as_dict() for problem in problems], indent=2))
    else:
        if problems:
            click.echo(render(problems) + "\n")
        click.echo(_summary(file, config, problems))
    context.exit(1 if failed else 0)


def examine(file: str) -> tuple[Config | None, list[Problem]]:
    """The configuration, unless it has errors of its own, and its problems: errors, then warnings."""
    try:
        document, source = read(file)
    except ConfigErrors as errors:
        return None, list(errors.problems)
    directory = Path(file).parent
    try:
        config = build(document, source, directory)
    except ConfigErrors as errors:
        # The files are looked at all the same: not one round of errors, and then another.
        found = errors_in(sound_certificates(document, directory))
        return None, sorted((*errors.problems, *map(source.problem, found)), key=_by_severity_and_place)
    found = [*lint_certificates(config), *lint(config)]
    return config, sorted(map(source.problem, found), key=_by_severity_and_place)


def _by_severity_and_place(problem: Problem) -> tuple[bool, int, int]:
    return problem.severity is Severity.WARNING, problem.line or 0, problem.column or 0


def _summary(file: str, config: Config | None, problems: Iterable[Problem]) -> str:
    severities = [problem.severity for problem in problems]
    errors, warnings = severities.count(Severity.ERROR), severities.count(Severity.WARNING)
    counts = [_count(errors, "error")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    if errors or config is None:
        return f"{file}: {', '.join(counts)}"
    found = ", ".join(
        [
            _count(len(config.listeners), "listener"),
            _count(len(config.routes), "route"),
            _count(len(config.certificates), "certificate"),
        ]
    )
    return f"{file}: ok: {found}" + (f"; {counts[0]}" if counts else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

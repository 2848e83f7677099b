"""Validates a parsed document, and says in findings what pydantic says in errors, and what it can't say.

pydantic checks the parts before the whole, and leaves the whole alone when a part is wrong. An operator
wants both at once: so where a part is wrong, the rest is checked for itself (`_salvage`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from spyhole.config.checks import Part, Parts, cross_checks
from spyhole.config.model import Certificate, Config, Listener, Route, Section, UpstreamConfig
from spyhole.config.problems import Finding, nearest, one_of
from spyhole.config.values import toml_type
from spyhole.config.words import DIRECTORY

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from spyhole.config.positions import Path

ARRAYS: Final[Mapping[str, type[Section]]] = {
    "listeners": Listener,
    "routes": Route,
    "certificates": Certificate,
}
"""The sections that are arrays of tables; `upstreams` is a table of tables."""

T = TypeVar("T", bound=Section)


@dataclass(frozen=True, slots=True)
class Invalid:
    """What pydantic found in a document."""

    errors: list[ErrorDetails]
    directory: FilePath


def keys_of(model: type[Section]) -> list[str]:
    """The keys of a table, as they are written."""
    return [field.alias or name for name, field in model.model_fields.items()]


def validate(document: Mapping[str, Any], directory: FilePath) -> Config | Invalid:
    """The configuration, or what is wrong with it."""
    try:
        return Config.model_validate(document, context={DIRECTORY: directory})
    except ValidationError as error:
        return Invalid(error.errors(include_url=False), directory)


def findings_in(
    invalid: Invalid, document: Mapping[str, Any], first_header: int | None = None
) -> list[Finding]:
    """Every finding about an invalid document; `first_header` is the line of its first `[table]`."""
    findings: list[Finding] = []
    crossed = False
    for error in invalid.errors:
        context = error.get("ctx", {})
        if finding := context.get("finding"):
            crossed = True
            findings.append(finding)
        else:
            findings.append(_Translator(document, first_header).finding(error))
    # A key that is misspelt is not missing as well.
    meant = {
        (*finding.path[:-1], finding.suggestion) for finding in findings if finding.code == "unknown-key"
    }
    findings = [
        finding for finding in findings if finding.code != "missing-key" or finding.path not in meant
    ]
    if not crossed:
        findings += cross_checks(_salvage(document, findings, invalid.directory))
    return findings


def sound_certificates(document: Mapping[str, Any], directory: FilePath) -> list[Certificate | None]:
    """The certificates of a document that may be invalid, None for those that are themselves."""
    items = document.get("certificates")
    certificates: list[Certificate | None] = []
    for item in items if isinstance(items, list) else ():
        try:
            certificates.append(Certificate.model_validate(item, context={DIRECTORY: directory}))
        except ValidationError:
            certificates.append(None)
    return certificates


class _Translator:
    """From pydantic's errors to findings."""

    def __init__(self, document: Mapping[str, Any], first_header: int | None) -> None:
        self.document = document
        self.first_header = first_header

    def finding(self, error: ErrorDetails) -> Finding:
        path: Path = error["loc"]
        kind = error["type"]
        if kind == "spyhole":
            context = error["ctx"]
            return Finding(
                path,
                context["code"],
                context["message"],
                expected=context["expected"],
                suggestion=context["suggestion"],
                hint=context["hint"],
                at=context["at"],
            )
        if kind == "extra_forbidden":
            return self._unknown_key(path)
        if kind == "missing":
            key = str(path[-1])
            return Finding(
                path,
                "missing-key",
                f"{key!r} is missing",
                expected=f"{key} = …{_in(path[:-1])}",
                at="table",
            )
        return self._wrong_shape(path, error["input"]) or Finding(path, "bad-value", error["msg"].lower())

    def _unknown_key(self, path: Path) -> Finding:
        key = str(path[-1])
        choices = keys_of(_model_of(path[:-1]))
        if len(path) > 1 and key in Config.model_fields:
            return self._misplaced(path)
        suggestion = nearest(key, choices)
        if suggestion is None and len(path) > 1 and (elsewhere := nearest(key, Config.model_fields)):
            return Finding(
                path,
                "unknown-key",
                f"unknown key {key!r}{_in(path[:-1])}",
                expected=one_of(choices),
                suggestion=elsewhere,
                hint=f"{elsewhere} is a top-level key: {self._above()}",
                at="key",
            )
        return Finding(
            path,
            "unknown-key",
            f"unknown key {key!r}{_in(path[:-1])}",
            # All the top-level keys would be a page.
            expected=one_of(choices) if len(path) > 1 or suggestion is None else None,
            suggestion=suggestion,
            at="key",
        )

    def _misplaced(self, path: Path) -> Finding:
        key = str(path[-1])
        return Finding(
            path,
            "misplaced-key",
            f"unknown key {key!r}{_in(path[:-1])}",
            hint=f"{key} is a top-level key: {self._above()}",
            at="key",
        )

    def _above(self) -> str:
        if self.first_header is None:
            return "write it outside of any table"
        return f"move it above line {self.first_header}, the first [table]"

    def _wrong_shape(self, path: Path, value: object) -> Finding | None:
        """A section, or a table of one, that is something else."""
        section = path[0]
        name = path[-1]
        if section in ARRAYS and len(path) <= 2:
            if isinstance(value, dict):
                return Finding(
                    path,
                    "wrong-type",
                    f"{section!r} is one table",
                    expected=f"two brackets, [[{section}]]: there can be several",
                    at="table",
                )
            return Finding(
                path, "wrong-type", f"wrong type: {toml_type(value)}", expected=f"[[{section}]] tables"
            )
        if section == "upstreams" and len(path) <= 2:
            if isinstance(value, list):
                return Finding(
                    path,
                    "wrong-type",
                    "wrong type: an array",
                    expected="[upstreams.NAME] tables",
                    at="table",
                )
            if len(path) == 2 and name in Config.model_fields:
                return self._misplaced(path)
            if name in UpstreamConfig.model_fields:
                return Finding(
                    path,
                    "wrong-type",
                    f"{name!r} without the name of an upstream",
                    expected=f"[upstreams.NAME] with {name} = …",
                    at="key",
                )
            return Finding(
                path, "wrong-type", f"wrong type: {toml_type(value)}", expected="[upstreams.NAME] tables"
            )
        return None


def _model_of(table: Path) -> type[Section]:
    if not table:
        return Config
    if table[0] == "upstreams":
        return UpstreamConfig
    return ARRAYS[str(table[0])]


def _in(table: Path) -> str:
    """Where in the configuration a table is, as its header is written."""
    if not table:
        return ""
    return f" in [{'.'.join(map(str, table))}]" if table[0] == "upstreams" else f" in [[{table[0]}]]"


# what can be checked in spite of the errors


def _salvage(document: Mapping[str, Any], findings: Iterable[Finding], directory: FilePath) -> Parts:
    """The valid parts of a document that is not valid as a whole."""
    broken: dict[Path, set[str]] = {}
    for finding in findings:
        for end in range(1, len(finding.path)):
            broken.setdefault(finding.path[:end], set()).add(str(finding.path[end]))
        if finding.suggestion is not None and finding.code == "unknown-key":
            broken.setdefault(finding.path[:-1], set()).add(finding.suggestion)
    holes = set(broken.get((), ())) | {
        str(finding.path[0]) for finding in findings if len(finding.path) == 1
    }

    def parts(section: str, model: type[T], items: Iterable[tuple[Path, object]]) -> Iterator[Part[T]]:
        for path, item in items:
            bad = frozenset(broken.get(path, ()))
            if isinstance(item, dict):
                sound = {key: value for key, value in item.items() if key not in bad}
                try:
                    yield Part(path, model.model_validate(sound, context={DIRECTORY: directory}), bad)
                    continue
                except ValidationError:
                    pass
            holes.add(section)

    def array(section: str, model: type[T]) -> tuple[Part[T], ...]:
        items = document.get(section)
        if not isinstance(items, list):
            if items is not None:
                holes.add(section)
            return ()
        return tuple(parts(section, model, (((section, index), item) for index, item in enumerate(items))))

    upstreams = document.get("upstreams")
    named = upstreams if isinstance(upstreams, dict) else {}
    if upstreams is not None and not isinstance(upstreams, dict):
        holes.add("upstreams")
    return Parts(
        listeners=array("listeners", Listener),
        routes=array("routes", Route),
        upstreams=tuple(
            parts(
                "upstreams", UpstreamConfig, ((("upstreams", name), item) for name, item in named.items())
            )
        ),
        certificates=array("certificates", Certificate),
        upstream_names=frozenset(named),
        holes=frozenset(holes),
    )

"""The JSON Schema of the configuration, for editors: TOML plugins complete and check keys with it."""

from __future__ import annotations

from typing import Any, Final

import tomli

from spyhole.config.describe import keys
from spyhole.config.model import Certificate, Config, Listener, Route, Section, UpstreamConfig

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_TABLES: Final[dict[str, type[Section]]] = {
    model.__name__: model for model in (Listener, Route, UpstreamConfig, Certificate)
}


def json_schema() -> dict[str, Any]:
    """The schema of a whole file, 2020-12."""
    made = Config.model_json_schema(by_alias=True)
    definitions = {name: made["$defs"][name] for name in _TABLES}
    _finish(made, Config)
    for name, model in _TABLES.items():
        _finish(definitions[name], model)
    return {
        "$schema": DIALECT,
        "title": "Spyhole configuration",
        "description": "TLS-aware TCP proxy: listeners, routes, upstreams and certificates.",
        "type": "object",
        "additionalProperties": False,
        "properties": made["properties"],
        "required": ["listeners", "routes"],
        "$defs": definitions,
    }


def _finish(table: dict[str, Any], model: type[Section]) -> None:
    """From how pydantic describes the values in Python to how they are written."""
    table["description"] = " ".join((model.__doc__ or "").split())
    properties = table["properties"]
    for property_ in properties.values():
        property_.pop("title", None)
        property_.pop("default", None)
    for key in keys(model):
        written = properties[key.name]
        notes = {name: written.pop(name) for name in ("description", "examples") if name in written}
        items = written.pop("items", None)
        if "$ref" in written:
            written = {"type": "string", "enum": key.kind.metavar.split("|")}
        elif items is not None:
            several = {"type": "array", "items": items, **({"minItems": 1} if key.required else {})}
            written = {"anyOf": [items, several]}
        elif any(branch.get("type") == "null" for branch in written.get("anyOf", ())):
            written = next(branch for branch in written["anyOf"] if branch.get("type") != "null")
        properties[key.name] = {"title": key.name, **notes, **written}
        if key.default is not None:
            properties[key.name]["default"] = tomli.loads(f"v = {key.default}")["v"]

"""The reference, the examples and the schema say what the model says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import tomli

from spyhole.config.describe import example, keys, scalar_keys
from spyhole.config.loader import build, load, parse
from spyhole.config.model import Certificate, Config, Listener, Route, Section, UpstreamConfig
from spyhole.config.schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
TABLES: tuple[type[Section], ...] = (Listener, Route, UpstreamConfig, Certificate)


def test_the_reference_is_current() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    current = module.PAGE.read_text() == module.reference()
    assert current, "docs/configuration.md is stale: run `python scripts/make_reference.py`"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "configs").glob("*.toml")), ids=lambda path: path.stem
)
def test_every_example_loads(path: Path) -> None:
    load(path)


def test_the_configuration_in_the_reference_loads() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    document, source = parse(block, "configuration.md")
    build(document, source, Path())


@pytest.mark.parametrize("model", [Config, *TABLES])
def test_every_key_is_described(model: type[Section]) -> None:
    for key in keys(model):
        assert key.description.endswith("."), key
        assert key.examples, key
    named = {field.alias or name for name, field in model.model_fields.items()}
    tables = {"listeners", "routes", "upstreams", "certificates"} if model is Config else set()
    assert {key.name for key in keys(model)} | tables == named


def test_every_top_level_key_has_a_heading() -> None:
    assert all(key.group for key in scalar_keys())


MINIMAL: dict[str, Any] = {"listeners": [{"bind": "*:443"}], "routes": [{"mode": "reject"}]}


@pytest.mark.parametrize("key", scalar_keys(), ids=lambda key: key.name)
def test_the_defaults_and_examples_of_the_top_level_are_values(key: Any) -> None:
    plain = Config.model_validate(MINIMAL)
    if key.default is not None:
        value = tomli.loads(f"v = {key.default}")["v"]
        assert Config.model_validate({**MINIMAL, key.name: value}) == plain
    for shown in key.examples:
        Config.model_validate({**MINIMAL, key.name: shown})
    Config.model_validate({**MINIMAL, **tomli.loads(example(key))})


@pytest.mark.parametrize("key", keys(Route), ids=lambda key: key.name)
def test_the_examples_of_routes_are_values(key: Any) -> None:
    for shown in key.examples:
        assert Route.model_validate({key.name: shown}) != Route()
    Route.model_validate(tomli.loads(example(key)))


def test_the_schema_has_the_keys_of_the_model() -> None:
    schema = json_schema()
    for model in (Config, *TABLES):
        table = schema if model is Config else schema["$defs"][model.__name__]
        assert set(table["properties"]) == {
            field.alias or name for name, field in model.model_fields.items()
        }
        assert table["additionalProperties"] is False
        for key in keys(model):
            written = table["properties"][key.name]
            assert written["description"]
            assert written["title"] == key.name
            default = None if key.default is None else tomli.loads(f"v = {key.default}")["v"]
            assert written.get("default") == default
    assert schema["$defs"]["Route"]["properties"]["mode"]["enum"] == ["passthrough", "terminate", "reject"]
    assert {branch.get("type") for branch in schema["$defs"]["Route"]["properties"]["sni"]["anyOf"]} == {
        "string",
        "array",
    }


def test_the_schema_refers_to_nothing_that_is_not_in_it() -> None:
    schema = json_schema()

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    assert references(schema) == {f"#/$defs/{name}" for name in schema["$defs"]}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "configs").glob("*.toml")), ids=lambda path: path.stem
)
def test_the_examples_fit_the_schema(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(tomli.loads(path.read_text()), json_schema())

"""The keys of the configuration as data, read from the model: for flags, the reference and the schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from spyhole.config.model import Config, Group
from spyhole.config.values import Kind, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

    from spyhole.config.model import Section


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table."""

    name: str
    """As it is written."""
    kind: Kind
    many: bool
    """Whether it may also be a list of such values."""
    required: bool
    default: str | None
    """As it is written; None where leaving the key out is not the same as any value."""
    description: str
    examples: tuple[object, ...]
    group: Group | None
    """For top-level keys."""


def keys(model: type[Section]) -> list[Key]:
    """The keys of a table that have plain values, in the order of the model."""
    described = ((name, field, _kind(field)) for name, field in model.model_fields.items())
    return [_key(name, field, kind) for name, field, kind in described if kind is not None]


def scalar_keys() -> list[Key]:
    """The top-level keys that are not tables: each is a flag as well."""
    return keys(Config)


def _key(name: str, field: FieldInfo, kind: Kind) -> Key:
    many = get_origin(field.annotation) is tuple
    default: str | None = None
    if not field.is_required() and not many and field.default != "":
        shown = kind.show(field.default)
        default = None if field.default is None and shown in ("None", '"None"') else shown
    return Key(
        name=field.alias or name,
        kind=kind,
        many=many,
        required=field.is_required(),
        default=default,
        description=field.description or "",
        examples=tuple(field.examples or ()),
        group=next((item for item in field.metadata if isinstance(item, Group)), None),
    )


def _kind(field: FieldInfo) -> Kind | None:
    return _first_kind(field.metadata) or _kind_inside(field.annotation)


def _kind_inside(annotation: Any) -> Kind | None:
    """The kind of `X | None`, and of the items of a tuple."""
    if get_origin(annotation) is Annotated:
        return _first_kind(annotation.__metadata__)
    return next((kind for inner in get_args(annotation) if (kind := _kind_inside(inner))), None)


def _first_kind(metadata: Iterable[object]) -> Kind | None:
    return next((item for item in metadata if isinstance(item, Kind)), None)


def example(key: Key) -> str:
    """A line of a file with the key's first example."""
    return f"{key.name} = {quoted(key.examples[0])}" if key.examples else f"{key.name} = {key.default}"

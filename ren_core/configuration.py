"""Configurations whose values are checked: a wrong one is refused with its range and its default.

    @configuration(group="search")
    class SearchConfig:
        floor: Cosine = 0.7

A range stands in the type of its field, so that the default stays where a dataclass has it.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import field, fields, is_dataclass, replace
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.errors import PydanticUserError
from typing_extensions import dataclass_transform

from ren_core.errors import ConfigError

T = TypeVar("T")

Cosine = Annotated[float, Field(ge=-1, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=100)]
Zoom = Annotated[float, Field(ge=1, le=100)]  # of a frame; 1 shows all of it
Count = Annotated[int, Field(ge=1, le=10_000)]
GridSize = Annotated[int, Field(ge=1, le=128)]  # points per side of an image
ImageSize = Annotated[int, Field(ge=1, le=4096)]  # px of a side
Seed = Annotated[int, Field(ge=0, lt=2**32)]

KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "True or False",
    "string": "a text",
    "null": "None",
}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def configuration(*, group: str = "") -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass of named values that are checked when it is made.

    Nothing is coerced but a whole number where a number stands; NaN and infinity are no values.

    Args:
        group: Dotted name in messages of the place where the values stand, such as ``"search"``.

    Returns:
        The decorator. Making such a class raises ``ConfigError`` if a value is not allowed.
    """
    strict = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
    as_dataclass = pydantic_dataclass(frozen=True, kw_only=True, slots=True, config=strict)

    def decorate(plain: type[T]) -> type[T]:
        kind: Any = as_dataclass(plain)
        check = kind.__init__

        @functools.wraps(check)
        def init(self: T, *args: object, **values: object) -> None:
            try:
                check(self, *args, **values)
            except ValidationError as err:
                raise ConfigError(_sentence(kind, err, group)) from err

        kind.__init__ = init
        checked: type[T] = kind
        return checked

    return decorate


def changed(config: T, changes: Mapping[str, object], *, within: str = "") -> T:
    """A configuration with other values.

    Args:
        config: May hold configurations, and those others.
        changes: Values by dotted key, such as ``"search.top_k"``.
        within: What stands before the keys in messages, such as ``"search."``.

    Raises:
        ConfigError: If a key is none, or a value is not allowed.
    """
    values: dict[str, Any] = {}
    inner: dict[str, dict[str, object]] = defaultdict(dict)
    names = [f.name for f in fields(config)]  # type: ignore[arg-type]
    for key, value in changes.items():
        name, dot, rest = key.partition(".")
        if name not in names:
            raise ConfigError(
                f"no setting is called {within + key!r}; {name!r} is none of {', '.join(names)}"
            )
        is_group = is_dataclass(getattr(config, name))
        if dot and not is_group:
            raise ConfigError(
                f"no setting is called {within + key!r}; {within + name!r} is a value"
            )
        if is_group and not dot:
            raise ConfigError(
                f"{within + name!r} is a group of settings; name one of them, such as "
                f"{within + name}.{fields(getattr(config, name))[0].name}"
            )
        if dot:
            inner[name][rest] = value
        else:
            values[name] = value
    for name, found in inner.items():
        values[name] = changed(getattr(config, name), found, within=f"{within}{name}.")
    return replace(config, **values)  # type: ignore[type-var]


def _sentence(kind: Any, err: ValidationError, group: str) -> str:  # noqa: ANN401 - any dataclass
    """What is wrong first, with what is allowed instead."""
    first = err.errors()[0]
    if isinstance(error := first.get("ctx", {}).get("error"), ConfigError):
        return str(error)  # of a check of several values
    name = str(first["loc"][0])
    dotted = f"{group}.{name}" if group else name
    known = kind.__pydantic_fields__
    if name not in known:
        return f"no setting is called {dotted!r}; choose one of {', '.join(known)}"
    info, is_item = known[name], len(first["loc"]) > 1
    if first["type"] == "missing" and not is_item:
        return f"{dotted} must be given: {allowed(info, dotted)}"
    inside = " in it" if is_item and first["type"] != "missing" else ""
    default = info.get_default(call_default_factory=True)
    ending = "" if info.is_required() else f" (default {default!r})"
    return f"{dotted} must be {allowed(info, dotted)}; got {first['input']!r:.100}{inside}{ending}"


def allowed(info: Any, name: str) -> str:  # noqa: ANN401 - pydantic's FieldInfo
    """What a field may be, in words, for a message that calls it ``name``."""
    try:
        schema = TypeAdapter(info.rebuild_annotation()).json_schema()
    except PydanticUserError:  # no plain value
        schema = {}
    return _in_words(schema, name) or f"of type {getattr(info.annotation, '__name__', 'another')}"


def _in_words(schema: Mapping[str, Any], name: str) -> str:
    if "anyOf" in schema:
        options = sorted(schema["anyOf"], key=lambda option: option.get("type") != "null")
        return " or ".join(_in_words(option, name) for option in options)
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(map(repr, choices))
    if schema.get("type") == "array":
        item = _in_words(schema.get("items") or schema["prefixItems"][0], "value")
        return f"a tuple of {_count_in_words(schema)} values" + (f", each {item}" if item else "")
    return KINDS.get(schema.get("type", ""), "") + _range_in_words(schema, name)


def _count_in_words(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    if high is None:
        return f"{low} or more"
    return f"{low} to {high}" if low < high else f"{low}"


def _range_in_words(schema: Mapping[str, Any], name: str) -> str:
    """Such as ``, 0 <= search.floor <= 1``; empty without a range."""
    below, above = "", ""
    for key, sign in (("minimum", "<="), ("exclusiveMinimum", "<")):
        if key in schema:
            below = f"{schema[key]} {sign} "
    for key, sign in (("maximum", "<="), ("exclusiveMaximum", "<")):
        if key in schema:
            above = f" {sign} {schema[key]}"
    return f", {below}{name}{above}" if below or above else ""

"""Every field of a configuration with values that might hang or break a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
from pydantic import TypeAdapter

from ren_core.configuration import changed
from ren_core.errors import ConfigError

NUMBERS = (0, -1, math.nan, math.inf, 1e9, 10**9)
VALUES = (*NUMBERS, (), *((n,) for n in NUMBERS), *((n, n) for n in NUMBERS))


def keys_of(config, within="") -> Iterator[tuple[str, object]]:
    """Dotted key and value of every single setting of a configuration and those it holds."""
    for field in fields(config):
        value = getattr(config, field.name)
        if hasattr(value, "__pydantic_fields__"):
            yield from keys_of(value, f"{within}{field.name}.")
        elif not is_dataclass(value):
            yield f"{within}{field.name}", value


def accepted_values(config, named=lambda key: key) -> Iterator[tuple[str, object]]:
    """The values that some setting takes; the others are refused in one sentence.

    ``named`` gives the name of a key in messages.
    """
    for key, default in keys_of(config):
        for value in VALUES:
            try:
                changed(config, {key: value})
            except ConfigError as err:
                check_message(str(err), named(key), default, value)
            else:
                yield key, value


def check_message(message, name, default, value):
    assert "\n" not in message
    assert name in message
    if name + " must be" not in message:
        return  # two settings that do not fit each other
    inside = value[0] if isinstance(value, tuple) and "in it" in message else value
    assert f"got {inside!r}" in message
    if isinstance(default, (int, float, tuple)) and not isinstance(default, bool | tuple):
        assert f"<= {name} <" in message or f"< {name} <" in message


def schema_of(config, key):
    """JSON schema of a setting, without the option None."""
    *groups, name = key.split(".")
    for group in groups:
        config = getattr(config, group)
    schema = TypeAdapter(type(config).__pydantic_fields__[name].rebuild_annotation()).json_schema()
    options = [o for o in schema.get("anyOf", [schema]) if o.get("type") != "null"]
    return options[0]


def ends_of(config) -> Iterator[tuple[str, object]]:
    """The least and the largest value of every number; of tuples, in as many places as must be."""
    for key, _ in keys_of(config):
        schema = schema_of(config, key)
        item = schema
        if schema.get("type") == "array":
            item = schema.get("items") or schema["prefixItems"][0]
        if item.get("type") not in ("integer", "number"):
            continue
        assert {"minimum", "exclusiveMinimum"} & item.keys(), f"{key} has no least value"
        assert {"maximum", "exclusiveMaximum"} & item.keys(), f"{key} has no largest value"
        low = item.get("minimum", item.get("exclusiveMinimum", 0) + 1e-6)
        high = item.get("maximum", item.get("exclusiveMaximum", 0) - 1e-6)
        count = max(1, schema.get("minItems", 1)) if item is not schema else None
        for end in (low, high):
            yield key, end if count is None else (end,) * count


def refused(config, key, value):
    """The message with which a value is refused."""
    with pytest.raises(ConfigError) as err:
        changed(config, {key: value})
    return str(err.value)

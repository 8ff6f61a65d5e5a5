"""Values that fit a JSON schema, filled with numbers and words found in the prompt.

Used for JSON answers and for the arguments of tool calls. Reads the part of JSON Schema that chat APIs accept
(type, properties, items, enum, const, anyOf, minItems); everything else is ignored, so a value always fits the parts
that are read. Chance comes in as keyed draws.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from clawbench.rng import Draws

_MAX_VALUES = 300  # nested arrays multiply; beyond this every value is null
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"\b\d{1,2}:\d{2}\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_AMOUNT = re.compile(r"\d+\.\d{2}\b")
_REFERENCE = re.compile(r"\b[A-Z]{0,4}-?\d[\d-]*\b")
_QUOTED = re.compile(r"['\"]([^'\"]{3,80})['\"]")


class JsonValues:
    """Makes values for one answer; each value drawn moves on in the given draws."""

    def __init__(self, source: str, words: Sequence[str], luck: Draws) -> None:
        self._source, self._words, self._luck = source, words or ("item",), luck
        self._left = _MAX_VALUES

    def value(self, schema: Any, name: str = "") -> Any:
        """A value for a schema; `name` is the property's, used to guess what is meant."""
        self._left -= 1
        if not isinstance(schema, dict) or self._left < 0:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(enum := schema.get("enum"), list) and enum:
            return self._among(enum)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(options := schema.get(key), list) and options:
                return self.value(options[0], name)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                least = schema.get("minItems", 1)
                length = max(least if isinstance(least, int) else 1, 1 + self._luck.below(3))
                return [self.value(schema.get("items", {}), name) for _ in range(min(length, 20))]
            case "integer":
                return int(float(self._number(name)))
            case "number":
                return float(self._number(name))
            case "boolean":
                return self._luck.random() < 0.5
            case "null":
                return None
            case _:
                return self._string(name, str(schema.get("description", "")))

    def loose_object(self, keys: Sequence[str]) -> dict[str, Any]:
        """An object with these keys, for a request that asks for JSON without a schema."""
        return {key: self._string(key, "") for key in keys}

    def _object(self, schema: dict[str, Any]) -> dict[str, Any]:
        properties = schema.get("properties")
        required = schema.get("required")
        wanted = required if isinstance(required, list) else []
        if not isinstance(properties, dict):
            return {}
        # Strict schemas require all of their properties; elsewhere a model leaves some of the optional ones out.
        return {
            key: self.value(each, key) for key, each in properties.items() if key in wanted or self._luck.random() < 0.6
        }

    def _string(self, name: str, description: str) -> str:
        if ("date" in name or "date" in description) and (date := _DATE.search(self._source)):
            return date.group()
        if ("HH:MM" in description or name in ("start", "time")) and (clock := _CLOCK.search(self._source)):
            return clock.group()
        if "decimal" in description:
            amounts = _AMOUNT.findall(self._source)
            return str(self._among(amounts)) if amounts else f"{1 + self._luck.below(90)}.{self._luck.below(100):02d}"
        if ("id" in name.split("_") or "number" in name) and (numbers := _REFERENCE.findall(self._source)):
            return str(self._among(numbers))
        if quoted := _QUOTED.findall(self._source):
            start = str(self._among(quoted)).split()
            return " ".join(start[: 2 + self._luck.below(5)])
        return " ".join(dict.fromkeys(self._among(self._words) for _ in range(1 + self._luck.below(3))))

    def _number(self, name: str) -> str:
        if name in ("level", "confidence", "stars"):
            return str(1 + self._luck.below(5))
        found = [number for number in _NUMBER.findall(self._source) if len(number) < 10]
        return str(self._among(found)) if found else str(1 + self._luck.below(20))

    def _among(self, options: Sequence[Any]) -> Any:
        return options[self._luck.below(len(options))]

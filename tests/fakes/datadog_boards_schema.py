"""Datadog's published schema of dashboards and monitors, as its own client for Python has it, taken strictly."""

from __future__ import annotations

from typing import Any

from datadog_api_client.configuration import Configuration
from datadog_api_client.model_utils import ModelSimple, OpenApiModel, validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard
from datadog_api_client.v1.model.monitor import Monitor

_CONFIGURATION = Configuration()  # type: ignore[no-untyped-call]


def problems(sort: str, data: dict[str, Any]) -> list[str]:
    """What the schema says against `data`: wrong types and values, missing fields, and fields it does not know.

    The client itself lets through what a newer API may have; here that is a mistake.
    """
    model = Monitor if sort == "monitor" else Dashboard
    try:
        built = validate_and_convert_types(  # type: ignore[no-untyped-call]
            data, (model,), [sort], True, True, _CONFIGURATION
        )
    except Exception as error:  # whatever it raises is a finding
        return [str(error)]
    return list(_unknown(built, sort))


def _unknown(value: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, list):
        for index, one in enumerate(value):
            found += _unknown(one, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            found += _unknown(one, f"{path}.{key}")
    elif isinstance(value, ModelSimple):
        if getattr(value, "_unparsed", False):
            found.append(f"{path} has a value that is not allowed: {value.value!r}")
    elif isinstance(value, OpenApiModel):
        fields = value._data_store
        if type(value).__name__ == "UnparsedObject" or getattr(value, "_unparsed", False) is True:
            found.append(f"{path} fits nothing that is allowed there")
        found += [f"{path} has an unknown field {key}" for key in fields if key not in value.attribute_map]
        for key, one in fields.items():
            found += _unknown(one, f"{path}.{key}")
        for one in getattr(value, "_composed_instances", []):  # "one of": what it was taken for
            found += _unknown(one, path)
    return found

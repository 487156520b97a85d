"""The schema that senders in other languages are written against: up to date, and true of what the bot takes."""

from __future__ import annotations

import json

import jsonschema
import pytest

from ops_bot.events import SCHEMA_VERSION
from ops_bot.reading import read
from ops_bot.schema import PATH, schema, text

TOLD = {"correlation": "deploy:1", "kind": "deploy", "state": "started", "at": "2026-11-21T03:00:00Z", "id": "12345678"}


def test_the_file_is_what_the_code_says() -> None:
    assert PATH.read_text() == text(), "type: ops-bot schema --write"
    assert PATH.name == f"event.v{SCHEMA_VERSION}.json"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"colour": "of a newer sender", "hosts": [{"name": "web1", "rack": 7}], "commits": [{"revision": "a1b2c3d"}]},
        {"kind": "party"},
        {"hosts": [{"tag": "v1"}]},
        {"correlation": "x" * 201},
        {"sequence": "second"},
        {"correlation": "a\nb"},
    ],
)
def test_it_takes_and_refuses_what_the_bot_does(fields: dict[str, object]) -> None:
    told = TOLD | fields
    taken = not list(jsonschema.Draft202012Validator(schema()).iter_errors(told))
    assert taken == (not read(json.dumps(told).encode()).refused)

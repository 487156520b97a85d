"""The JSON schema of events, for senders in other languages. Written by `ops-bot schema --write`."""

import json
from pathlib import Path
from typing import Any

from ops_bot.events import SCHEMA_VERSION, Event

PATH = Path(__file__).parent / f"event.v{SCHEMA_VERSION}.json"


def schema() -> dict[str, Any]:
    """The schema of an event as a sender must write it. What it does not name is kept as it comes."""
    made = Event.model_json_schema()
    del made["title"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tagboat:event:{SCHEMA_VERSION}",
        "title": f"Event of the ops bot, version {SCHEMA_VERSION}",
    } | made


def text() -> str:
    """The schema as it is kept in the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"

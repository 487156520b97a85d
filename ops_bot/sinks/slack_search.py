"""Looking things up in Slack: the id of a channel, and a message by the key in its metadata."""

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from slack_sdk import WebClient
from slack_sdk.web import SlackResponse

from ops_bot.sinks import slack_errors
from ops_bot.sinks.base import Absent, Failure, Found, Pause, Retry
from ops_bot.sinks.slack_errors import Meaning, No

# Slack recommends no more than 200 a page.
PAGE = 200

_ID = re.compile(r"[CDG][A-Z0-9]{8,}")


class Channels:
    """Names and ids of channels. Posting takes either; everything else wants the id."""

    def __init__(self, client: WebClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    def known(self, lane: str) -> str:
        """What to post to: the id as soon as it is known, so that a channel may be renamed."""
        return self._ids.get(lane.lstrip("#"), lane)

    def learn(self, lane: str, channel_id: str) -> None:
        """Slack said where it posted."""
        self._ids[lane.lstrip("#")] = channel_id

    def id_of(self, lane: str, now: datetime) -> str | Failure:
        """The id of a channel. Private ones are asked for last: an app that needs none need not see them."""
        name = lane.lstrip("#")
        if _ID.fullmatch(name):
            return name
        for kind in ("public_channel", "private_channel"):
            failure = self._list(kind, name, now) if name not in self._ids else None
            if failure is not None and kind == "public_channel":
                return failure
        if name not in self._ids:
            return Pause(f"channel_not_found: there is no #{name} that the app can see", lane=True)
        return self._ids[name]

    def _list(self, kind: str, name: str, now: datetime) -> Failure | None:
        cursor = ""
        while name not in self._ids:
            listing = partial(self._client.conversations_list, types=kind, limit=PAGE, cursor=cursor or None)
            answer = slack_errors.call(listing, now, channels=list)
            if not isinstance(answer, dict):
                return Retry(answer.error) if isinstance(answer, No) else answer
            self._ids |= {channel["name"]: channel["id"] for channel in answer["channels"]}
            cursor = _next_page(answer)
            if not cursor:
                break
        return None


def find(
    source: Callable[..., SlackResponse], where: dict[str, str], key: str, since: datetime, now: datetime
) -> Found | Absent | Failure:
    """The newest message of the delivery `key` that `source` (history or replies) tells of since `since`."""
    cursor, found = "", list[dict[str, Any]]()
    while True:
        asked = partial(
            source,
            **where,
            oldest=f"{since.timestamp():.6f}",
            limit=PAGE,
            include_all_metadata=True,
            cursor=cursor or None,
        )
        answer = slack_errors.call(asked, now, messages=list)
        if isinstance(answer, No):
            return Absent() if answer.meaning == Meaning.NO_THREAD else Retry(answer.error)
        if not isinstance(answer, dict):
            return answer
        found += [message for message in answer["messages"] if _payload(message).get("key") == key]
        cursor = _next_page(answer)
        if not cursor:
            break
    if not found:
        return Absent()
    newest = max(found, key=lambda message: float(message["ts"]))
    ref = {"channel": where["channel"], "ts": newest["ts"], "state": _payload(newest).get("state", "")}
    return Found(ref | ({"thread_ts": newest["thread_ts"]} if "thread_ts" in newest else {}))


def _payload(message: dict[str, Any]) -> dict[str, Any]:
    payload = (message.get("metadata") or {}).get("event_payload")
    return payload if isinstance(payload, dict) else {}


def _next_page(answer: dict[str, Any]) -> str:
    return str((answer.get("response_metadata") or {}).get("next_cursor") or "")

"""Slack's Web API as far as the bot uses it, and what a person in the channel sees.

Contract: docs.slack.dev/reference/methods, argument and error names as in slack-ruby/slack-api-ref, limits as in
slack_sdk's own validators. Run it by hand: `PYTHONPATH=tests python -m fakes.slack [PORT]`.
"""

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

from fakes.server import Answer, Clock, FakeServer, Fault, Request, says, serve_until_interrupted, utc_now

TOKEN = "xoxb-fake"
BLOCKS_MAX = 50
TEXT_MAX = 40_000
# Undocumented: 9,597 characters over all blocks were taken, 11,341 refused (slackapi/bolt-js #2509).
BLOCKS_CHARACTERS_MAX = 9_600
SECTION_MAX = 3_000
HEADER_MAX = 150
METADATA_BYTES_MAX = 3_000
PAGE_MAX = 999

# Every error chat.postMessage is documented to answer with (slack-ruby/slack-api-ref and its forks, all versions).
_POST_ERRORS = """
access_denied accesslimited account_inactive as_user_not_supported attachment_payload_limit_exceeded
cannot_reply_to_message channel_not_found deprecated_endpoint draft_already_deleted draft_already_sent
draft_has_conflict draft_not_found duplicate_channel_not_found duplicate_message_not_found ekm_access_denied
enterprise_is_restricted fatal_error internal_error invalid_arg_name invalid_arguments invalid_array_arg invalid_auth
invalid_blocks invalid_blocks_format invalid_charset invalid_form_data invalid_metadata_format
invalid_metadata_schema invalid_post_type is_archived is_bot markdown_text_conflict message_limit_exceeded
messages_tab_disabled metadata_must_be_sent_from_app metadata_too_large method_deprecated missing_file_data
missing_post_type missing_scope msg_blocks_too_long msg_too_long no_permission no_text not_allowed_token_type
not_authed not_in_channel org_login_required rate_limited ratelimited request_timeout restricted_action
restricted_action_non_threadable_channel restricted_action_read_only_channel restricted_action_thread_locked
restricted_action_thread_only_channel service_unavailable slack_connect_canvas_sharing_blocked
slack_connect_clip_sharing_blocked slack_connect_file_link_sharing_blocked slack_connect_file_upload_sharing_blocked
slack_connect_lists_sharing_blocked team_access_not_granted team_added_to_org team_not_found token_expired
token_revoked too_many_attachments too_many_contact_cards two_factor_setup_required unknown_method
"""
POST_ERRORS = _POST_ERRORS.split()

# What chat.update has beyond those.
_UPDATE_ERRORS = """
block_mismatch cant_broadcast_message cant_update_message edit_window_closed external_channel_migrating
invalid_attachments is_inactive message_not_found no_dual_broadcast_content_update streaming_state_conflict
update_failed
"""
UPDATE_ERRORS = _UPDATE_ERRORS.split()


@dataclass(frozen=True)
class Seen:
    """One message as it stands in the channel now."""

    channel: str  # its name
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any]
    thread_ts: str = ""
    broadcast: bool = False
    edits: int = 0

    @property
    def key(self) -> str:
        """Which delivery of the bot it shows."""
        return str(self.metadata.get("event_payload", {}).get("key", ""))

    @property
    def state(self) -> str:
        """The state it shows."""
        return str(self.metadata.get("event_payload", {}).get("state", ""))


def refuse(error: str, **more: object) -> Fault:
    """A polite no: 200 with `ok: false`, and nothing done."""
    return says({"ok": False, "error": error} | more)


def rate_limit(retry_after: str | None = "30") -> Fault:
    """429 as Slack says it; `retry_after` None leaves the header out."""
    fault = says({"ok": False, "error": "ratelimited"}, status=429)
    return fault if retry_after is None else replace(fault, headers={**fault.headers, "Retry-After": retry_after})


class _No(Exception):
    pass


class FakeSlack(FakeServer):
    """One workspace, one token, some channels."""

    def __init__(
        self, *, clock: Clock = utc_now, port: int = 0, channels: tuple[str, ...] = ("operations",), token: str = TOKEN
    ) -> None:
        super().__init__(clock=clock, port=port)
        self.token = token
        self.channels = {f"C{number:010d}": name for number, name in enumerate(channels, 1)}
        self.archived: set[str] = set()  # names
        self.revoked = False
        self.scopes = {"chat:write", "channels:read", "channels:history"}
        self.per_second: float | None = None  # posts a second and channel before 429; None: any
        self.deleted: list[Seen] = []
        self.posted_at: dict[str, list[float]] = {}
        self._messages: dict[tuple[str, str], Seen] = {}  # by (channel id, ts)
        self._last_ts = 0

    @property
    def url(self) -> str:
        """What to set as the Web API's address."""
        return f"http://127.0.0.1:{self.port}/api/"

    def seen(self, channel: str = "") -> list[Seen]:
        """What a person sees, oldest first: of one channel (its name) or of all."""
        with self.lock:
            found = [message for message in self._messages.values() if channel in ("", message.channel)]
        return sorted(found, key=lambda message: float(message.ts))

    def delete_by_hand(self, ts: str) -> None:
        """Somebody with the right to do so deletes a message."""
        with self.lock:
            (place,) = [place for place in self._messages if place[1] == ts]
            self.deleted.append(self._messages.pop(place))

    def rename(self, old: str, new: str) -> None:
        """A channel gets another name and keeps its id."""
        with self.lock:
            self.channels = {id_: new if name == old else name for id_, name in self.channels.items()}
            self._messages = {
                place: replace(message, channel=new) if message.channel == old else message
                for place, message in self._messages.items()
            }

    def answer(self, request: Request) -> Answer:
        """Do one method of the Web API."""
        methods = {
            "auth.test": lambda _: {"team": "fake", "user": "tagboat"},
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "conversations.list": self._list,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
        }
        try:
            self._authenticate(request)
            if request.name not in methods:
                raise _No("unknown_method")
            return Answer({"ok": True} | methods[request.name](request.values))
        except _TooFast:
            return Answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "1"})
        except _No as no:
            return Answer({"ok": False, "error": str(no)})

    def _authenticate(self, request: Request) -> None:
        presented = request.header("Authorization").removeprefix("Bearer ")
        if not presented:
            raise _No("not_authed")
        if self.revoked:
            raise _No("token_revoked")
        if presented != self.token:
            raise _No("invalid_auth")

    def _needs(self, scope: str) -> None:
        if scope not in self.scopes:
            raise _No("missing_scope")

    def _channel(self, said: str, *, by_name: bool = False) -> str:
        if said in self.channels:
            return said
        if by_name:
            for id_, name in self.channels.items():
                if name == said.removeprefix("#"):
                    return id_
        raise _No("channel_not_found")

    def _post(self, values: dict[str, Any]) -> dict[str, Any]:
        self._needs("chat:write")
        channel = self._channel(str(values.get("channel", "")), by_name=True)
        name = self.channels[channel]
        if name in self.archived:
            raise _No("is_archived")
        _check_content(values)
        thread = str(values.get("thread_ts", ""))
        if thread and (channel, thread) not in self._messages:
            # Slack takes it, and shows it in a thread without a head.
            pass
        now = self.clock().timestamp()
        times = self.posted_at.setdefault(name, [])
        if self.per_second and times and now - times[-1] < 1 / self.per_second - 1e-6:
            raise _TooFast
        times.append(now)
        ts = self._next_ts(now)
        self._messages[(channel, ts)] = Seen(
            channel=name,
            ts=ts,
            text=str(values.get("text", "")),
            blocks=list(values.get("blocks") or []),
            metadata=dict(values.get("metadata") or {}),
            thread_ts=thread,
            broadcast=bool(values.get("reply_broadcast")),
        )
        return {"channel": channel, "ts": ts, "message": {"text": values.get("text", ""), "ts": ts}}

    def _next_ts(self, now: float) -> str:
        self._last_ts = max(self._last_ts + 1, int(now * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def _update(self, values: dict[str, Any]) -> dict[str, Any]:
        self._needs("chat:write")
        channel = self._channel(str(values.get("channel", "")))
        if self.channels[channel] in self.archived:
            raise _No("is_inactive")
        place = (channel, str(values.get("ts", "")))
        if place not in self._messages:
            raise _No("message_not_found")
        _check_content(values)
        old = self._messages[place]
        self._messages[place] = replace(
            old,
            text=str(values.get("text", "")),
            blocks=list(values.get("blocks") or []),
            # Left out, it stays what it was: documented at chat.update.
            metadata=dict(values["metadata"]) if "metadata" in values else old.metadata,
            edits=old.edits + 1,
        )
        return {"channel": channel, "ts": place[1], "text": values.get("text", "")}

    def _delete(self, values: dict[str, Any]) -> dict[str, Any]:
        self._needs("chat:write")
        place = (self._channel(str(values.get("channel", ""))), str(values.get("ts", "")))
        if place not in self._messages:
            raise _No("message_not_found")
        self.deleted.append(self._messages.pop(place))
        return {"channel": place[0], "ts": place[1]}

    def _list(self, values: dict[str, Any]) -> dict[str, Any]:
        self._needs("channels:read")
        if "private_channel" in str(values.get("types", "")):
            self._needs("groups:read")
        rows = [
            {"id": id_, "name": name, "is_archived": name in self.archived, "is_member": True}
            for id_, name in self.channels.items()
            if not (str(values.get("exclude_archived")) in ("1", "true", "True") and name in self.archived)
        ]
        page, cursor = _page(rows, values, default=100)
        return {"channels": page, "response_metadata": {"next_cursor": cursor}}

    def _history(self, values: dict[str, Any]) -> dict[str, Any]:
        self._needs("channels:history")
        channel = self._channel(str(values.get("channel", "")))
        found = [m for (c, _), m in self._messages.items() if c == channel and (not m.thread_ts or m.broadcast)]
        return self._told(sorted(found, key=lambda m: float(m.ts), reverse=True), values)

    def _replies(self, values: dict[str, Any]) -> dict[str, Any]:
        self._needs("channels:history")
        channel, head = self._channel(str(values.get("channel", ""))), str(values.get("ts", ""))
        found = [m for (c, ts), m in self._messages.items() if c == channel and head in (ts, m.thread_ts)]
        if not found:
            raise _No("thread_not_found")
        return self._told(sorted(found, key=lambda m: float(m.ts)), values)

    def _told(self, found: list[Seen], values: dict[str, Any]) -> dict[str, Any]:
        oldest = float(values.get("oldest") or 0)
        rows = [_as_slack(m, values) for m in found if float(m.ts) > oldest]
        page, cursor = _page(rows, values, default=100)
        return {"messages": page, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}


class _TooFast(_No):
    pass


def _as_slack(message: Seen, values: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "message", "ts": message.ts, "text": message.text, "bot_id": "B0000000001"}
    if message.thread_ts:
        told["thread_ts"] = message.thread_ts
    if message.metadata and str(values.get("include_all_metadata")) in ("1", "true", "True"):
        told["metadata"] = message.metadata
    return told


def _page(rows: list[dict[str, Any]], values: dict[str, Any], default: int) -> tuple[list[dict[str, Any]], str]:
    start, size = int(values.get("cursor") or 0), min(int(values.get("limit") or default), PAGE_MAX)
    end = start + size
    return rows[start:end], str(end) if end < len(rows) else ""


def _check_content(values: dict[str, Any]) -> None:
    text, blocks, metadata = values.get("text", ""), values.get("blocks") or [], values.get("metadata")
    if not text and not blocks:
        raise _No("no_text")
    if len(text) > TEXT_MAX:
        raise _No("msg_too_long")
    if not isinstance(blocks, list) or any(not isinstance(block, dict) or "type" not in block for block in blocks):
        raise _No("invalid_blocks_format")
    if len(blocks) > BLOCKS_MAX or any(_too_big(block) for block in blocks):
        raise _No("invalid_blocks")
    if sum(_characters(block) for block in blocks) > BLOCKS_CHARACTERS_MAX:
        raise _No("msg_blocks_too_long")
    if metadata is not None:
        if not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), dict):
            raise _No("invalid_metadata_format")
        if len(json.dumps(metadata)) > METADATA_BYTES_MAX:
            raise _No("metadata_too_large")


def _too_big(block: dict[str, Any]) -> bool:
    text = block.get("text") or {}
    length = len(text.get("text", "")) if isinstance(text, dict) else 0
    if block["type"] == "section":
        fields = block.get("fields") or []
        if not length and not fields:
            return True
        return length > SECTION_MAX or len(fields) > 10 or any(len(f.get("text", "")) > 2_000 for f in fields)
    if block["type"] == "header":
        return not 1 <= length <= HEADER_MAX
    if block["type"] == "context":
        return not 1 <= len(block.get("elements") or []) <= 10
    if block["type"] == "actions":
        return not 1 <= len(block.get("elements") or []) <= 25
    return False


def _characters(part: object) -> int:
    """Characters of text in a block, however deep."""
    if isinstance(part, dict):
        own = len(part["text"]) if isinstance(part.get("text"), str) else 0
        return own + sum(_characters(value) for value in part.values() if isinstance(value, dict | list))
    if isinstance(part, list):
        return sum(_characters(item) for item in part)
    return 0


def main() -> None:
    """Show the channel as it changes."""
    fake = FakeSlack(port=int(sys.argv[1]) if sys.argv[1:] else 0)
    serve_until_interrupted(
        fake, lambda: "\n".join(f"{'   ↳ ' if m.thread_ts else ''}{m.text}" for m in fake.seen()) + "\n--"
    )


if __name__ == "__main__":
    main()

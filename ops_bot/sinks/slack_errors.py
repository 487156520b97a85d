"""What each way in which a call to Slack can fail means for us.

Names from Slack's reference of chat.postMessage, chat.update and conversations.history (docs.slack.dev/reference);
what Slack adds to them tomorrow is tried in a simpler form, then again later, and holds up nothing else.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web import SlackResponse

from ops_bot.scrub import scrub
from ops_bot.sinks.base import Ambiguous, Failure, Pause, Retry, retry_after_seconds
from ops_bot.sinks.deadline import still_wanted
from ops_bot.sinks.network import never_left


class Meaning(StrEnum):
    """What an error Slack names means."""

    LATER = "later"  # not done, and nothing is wrong with the message
    DOUBT = "doubt"  # "It's possible some aspect of the operation succeeded before the error was raised"
    APP = "app"  # the app's standing, which a person must mend
    CHANNEL = "channel"  # the channel's, so that other channels go on
    NO_THREAD = "no thread"  # no replies under that message: say it beside
    GONE = "gone"  # the message cannot be edited any more
    CONTENT = "content"  # not taken in this form
    NEW = "new"  # not known to us


_TABLE = {
    Meaning.LATER: """
        external_channel_migrating message_limit_exceeded org_login_required rate_limited ratelimited request_timeout
        service_unavailable streaming_state_conflict team_added_to_org update_failed""",
    Meaning.DOUBT: "fatal_error internal_error",
    Meaning.APP: """
        access_denied accesslimited account_inactive as_user_not_supported deprecated_endpoint enterprise_is_restricted
        invalid_auth is_bot method_deprecated missing_scope no_permission not_allowed_token_type not_authed
        team_access_not_granted team_not_found token_expired token_revoked two_factor_setup_required unknown_method""",
    Meaning.CHANNEL: """
        channel_not_found ekm_access_denied is_archived is_inactive messages_tab_disabled not_in_channel
        restricted_action restricted_action_read_only_channel restricted_action_thread_only_channel""",
    Meaning.NO_THREAD: """
        cannot_reply_to_message cant_broadcast_message no_dual_broadcast_content_update
        restricted_action_non_threadable_channel restricted_action_thread_locked thread_not_found""",
    Meaning.GONE: "cant_update_message edit_window_closed message_not_found",
    Meaning.CONTENT: """
        attachment_payload_limit_exceeded block_mismatch invalid_arguments invalid_attachments invalid_blocks
        invalid_blocks_format invalid_metadata_format invalid_metadata_schema markdown_text_conflict
        metadata_must_be_sent_from_app metadata_too_large msg_blocks_too_long msg_too_long no_text
        slack_connect_canvas_sharing_blocked slack_connect_clip_sharing_blocked slack_connect_file_link_sharing_blocked
        slack_connect_file_upload_sharing_blocked slack_connect_lists_sharing_blocked too_many_attachments
        too_many_contact_cards""",
}
MEANING = {error: meaning for meaning, errors in _TABLE.items() for error in errors.split()}

# Not a matter of seconds: a migration of the workspace, a free workspace's own limit.
_SLOW = {
    "external_channel_migrating": 60,
    "message_limit_exceeded": 600,
    "org_login_required": 60,
    "team_added_to_org": 60,
}
_ADVICE = {
    "missing_scope": "give the app the scopes chat:write, channels:read, channels:history and install it again",
    "not_in_channel": "invite the app to the channel",
    "channel_not_found": "invite the app to the channel, or set OPS_BOT_SLACK_CHANNEL to one that exists",
    "is_archived": "bring the channel back, or set OPS_BOT_SLACK_CHANNEL to another",
    "invalid_auth": "set OPS_BOT_SLACK_TOKEN to a valid bot token",
    "token_revoked": "set OPS_BOT_SLACK_TOKEN to a new bot token",
    "token_expired": "set OPS_BOT_SLACK_TOKEN to a new bot token",
    "account_inactive": "install the app again and set OPS_BOT_SLACK_TOKEN",
}


@dataclass(frozen=True)
class No:
    """Slack understood, did nothing, and it is about this message."""

    error: str

    @property
    def meaning(self) -> Meaning:
        """NO_THREAD, GONE, CONTENT or NEW."""
        return MEANING.get(self.error, Meaning.NEW)


def call(method: Callable[[], SlackResponse], now: datetime, **needs: type) -> dict[str, Any] | No | Failure:
    """The answer of one call that surely succeeded, and holds all it `needs`; or what went wrong."""
    if not still_wanted():
        return Ambiguous("no time is left")
    try:
        response = method()
        data = response.data
    except SlackApiError as error:
        return _refusal(error.response, now)
    except Exception as error:  # the library lets through whatever urllib, http.client and json raise
        said = _short(f"{type(error).__name__}: {error}")
        return Retry(said) if never_left(error) else Ambiguous(said)
    if not isinstance(data, dict) or not all(isinstance(data.get(name), kind) for name, kind in needs.items()):
        return Ambiguous("Slack said ok, and not what it did")
    return data


def _refusal(response: Any, now: datetime) -> No | Failure:
    status = int(response.status_code)
    data = response.data if isinstance(response.data, dict) else {}
    error = str(data.get("error") or "")
    headers = {name.lower(): value for name, value in response.headers.items()}
    after = retry_after_seconds(headers.get("retry-after"), now)
    if status == 429:
        return Retry(f"429 {error}".strip()[:200], after)
    # No page of a proxy, and no half of an answer, looks like the name of an error.
    if not re.fullmatch(r"[a-z0-9_]{1,80}", error):
        return Ambiguous(f"{status}, and no answer of Slack", after)
    if status >= 500:
        return Ambiguous(f"{status} {error}", after)
    return judge(error, after)


def judge(error: str, after_seconds: float | None = None) -> No | Failure:
    """What an `error` Slack names means; `after_seconds` is what its answer asked us to wait."""
    said = f"{error}: {_ADVICE[error]}" if error in _ADVICE else error
    match MEANING.get(error):
        case Meaning.LATER:
            return Retry(said, _SLOW.get(error) if after_seconds is None else after_seconds)
        case Meaning.DOUBT:
            return Ambiguous(said, after_seconds)
        case Meaning.APP:
            return Pause(said)
        case Meaning.CHANNEL:
            return Pause(said, lane=True)
    return No(error)


def _short(text: str) -> str:
    return scrub(" ".join(text.split()))[:300]

"""Slack: one message per story, posted once and edited ever after; a loud reply under it when it turns bad.

chat.postMessage knows no idempotency key. What stands in for it: every message carries the key of its delivery in its
metadata, and after an attempt that nobody knows the end of, the channel's history is read before anything is posted.
"""

import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from slack_sdk import WebClient
from slack_sdk.web import SlackResponse

from ops_bot.events import State, Story
from ops_bot.ledger import Delivery
from ops_bot.messages import Message, catch_up, plain, render, reply
from ops_bot.settings import Settings
from ops_bot.sinks import slack_errors
from ops_bot.sinks.base import Absent, Bucket, Failure, Found, Job, Outcome, Refused, Retry, Sent
from ops_bot.sinks.plan import TURNS, reply_state
from ops_bot.sinks.slack_errors import Meaning, No
from ops_bot.sinks.slack_search import Channels, find
from ops_bot.text import clip

log = logging.getLogger(__name__)

# The library's own default is 30 s, and one slow message must not hold up the next for so long.
TIMEOUT_SECONDS = 8
# "1 per second per channel"; chat.update is Tier 3, 50 a minute (docs.slack.dev/apis/web-api/rate-limits).
POSTS_PER_SECOND = 1.0
EDITS_PER_SECOND, EDITS_AT_ONCE = 45 / 60, 5
# How far our clock and Slack's may be apart without a message being overlooked.
CLOCKS_APART = timedelta(hours=24)
Answer = dict[str, Any] | No | Failure


class Slack:
    """One workspace. Needs the scopes chat:write, channels:read and channels:history, and to be in the channels."""

    name = "slack"
    doubt_seconds = 3.0  # what was taken is in the history by then

    def __init__(self, settings: Settings, *, timeout_seconds: int = TIMEOUT_SECONDS) -> None:
        if settings.slack_token is None:
            raise ValueError("Slack needs OPS_BOT_SLACK_TOKEN")
        quiet = logging.getLogger(f"{__name__}.library")
        quiet.setLevel(logging.CRITICAL)  # it logs what it also raises, body and all
        self._settings = settings
        self._client = WebClient(
            token=settings.slack_token.get_secret_value(),
            base_url=settings.slack_url.rstrip("/") + "/",
            timeout=timeout_seconds,
            # The default one sends a message again whose answer got lost: everybody would read it twice.
            retry_handlers=[],
            logger=quiet,
        )
        self._posts: dict[str, Bucket] = {}
        self._edits = Bucket(EDITS_PER_SECOND, EDITS_AT_ONCE)
        self._channels = Channels(self._client)

    def wait_seconds(self, delivery: Delivery, now: datetime) -> float:
        """Posts are paced by channel, edits over all of them."""
        return self._pace(delivery).wait_seconds(now)

    def deliver(self, job: Job, now: datetime) -> Outcome:
        """Edit the message of `job.delivery`, or post it."""
        if job.delivery.ref and "ts" in job.delivery.ref:
            self._edits.take(now)
            return self._edit(job, job.delivery.ref, now)
        state = reply_state(job.delivery.key, job.delivery.correlation)
        head = job.parent.ref if job.parent and state is not None else None
        if state is not None and head is None and job.parent and job.parent.pending:
            return Retry("the message it belongs under comes first", after_seconds=1, alone=True)
        if state is not None and _needs_no_reply(job, head, state):
            return Sent({"covered_by": head["ts"] if head else None})
        self._pace(job.delivery).take(now)
        return self._post(job, head, now)

    def reconcile(self, job: Job, now: datetime) -> Found | Absent | Failure:
        """Look in the channel (and in the thread, for a reply) whether the message of `job.delivery` is there."""
        since = (job.delivery.attempt_started or now) - CLOCKS_APART
        channel = self._channels.id_of(job.delivery.lane, now)
        if not isinstance(channel, str):
            return channel
        head = job.parent.ref if job.parent else None
        if reply_state(job.delivery.key, job.delivery.correlation) is not None and head and "ts" in head:
            thread = {"channel": head["channel"], "ts": head["ts"]}
            looked = self._find(job, self._client.conversations_replies, thread, since, now)
            if not isinstance(looked, Absent):
                return looked
        return self._find(job, self._client.conversations_history, {"channel": channel}, since, now)

    def _pace(self, delivery: Delivery) -> Bucket:
        if delivery.ref and "ts" in delivery.ref:
            return self._edits
        return self._posts.setdefault(delivery.lane, Bucket(POSTS_PER_SECOND))

    def _post(self, job: Job, head: dict[str, Any] | None, now: datetime) -> Outcome:
        thread: dict[str, Any] = {}
        if head and "ts" in head and head.get("lane") == job.delivery.lane:
            thread = {"thread_ts": head.get("thread_ts") or head["ts"], "reply_broadcast": True}
        answer = self._say(
            job,
            now,
            lambda content: self._client.chat_postMessage(
                channel=self._channels.known(job.delivery.lane),
                unfurl_links=False,
                unfurl_media=False,
                parse="none",
                link_names=False,
                **thread,
                **content,
            ),
        )
        if isinstance(answer, No) and thread and answer.meaning in (Meaning.NO_THREAD, Meaning.GONE):
            return self._post(job, None, now)
        if not isinstance(answer, dict):
            return _refused(answer)
        self._channels.learn(job.delivery.lane, answer["channel"])
        return Sent(
            {
                "channel": answer["channel"],
                "ts": answer["ts"],
                "lane": job.delivery.lane,
                "state": str(job.story.state),  # as it was posted: what people were told aloud
            }
            | ({"thread_ts": thread["thread_ts"]} if thread else {})
        )

    def _edit(self, job: Job, ref: dict[str, Any], now: datetime) -> Outcome:
        answer = self._say(
            job,
            now,
            lambda content: self._client.chat_update(
                channel=ref["channel"],
                ts=ref["ts"],
                parse="none",  # chat.update's own default is another than chat.postMessage's
                link_names=False,
                **content,
            ),
        )
        if isinstance(answer, No) and answer.meaning == Meaning.GONE:
            return self._anew(job, ref, answer.error, now)
        return Sent(ref) if isinstance(answer, dict) else _refused(answer)

    def _anew(self, job: Job, ref: dict[str, Any], error: str, now: datetime) -> Outcome:
        """Post again what can no longer be edited: somebody deleted it, or the workspace closes messages after a while.

        An attempt to do so may have succeeded before, unseen: what is newer than `ref` counts.
        """
        if error != "message_not_found" and job.story.state not in TURNS:
            return Sent(ref)  # where nothing can be edited, each step would be a message
        posted = datetime.fromtimestamp(float(ref["ts"]), now.tzinfo)
        looked = self._find(job, self._client.conversations_history, {"channel": ref["channel"]}, posted, now)
        if isinstance(looked, Found) and float(looked.ref["ts"]) > float(ref["ts"]):
            return self._edit(job, looked.ref, now)
        if not isinstance(looked, Found | Absent):
            return looked
        pace = self._posts.setdefault(job.delivery.lane, Bucket(POSTS_PER_SECOND))
        if wait := pace.wait_seconds(now):
            return Retry(error, after_seconds=wait, alone=True)
        pace.take(now)
        # Under the closed one, where there is one, so that what was said before is one click away.
        return self._post(job, None if error == "message_not_found" else ref | {"lane": job.delivery.lane}, now)

    def _say(self, job: Job, now: datetime, send: Callable[[dict[str, Any]], SlackResponse]) -> Answer:
        """Send the message; when its form is refused, a simpler one."""
        answer: Answer = No("no_text")
        for content in self._forms(job, now):
            answer = slack_errors.call(partial(send, content), now, channel=str, ts=str)
            if not isinstance(answer, No) or answer.meaning in (Meaning.NO_THREAD, Meaning.GONE):
                break
            log.warning("Slack refused %s: %s", job.delivery.key, answer.error)
        return answer

    def _forms(self, job: Job, now: datetime) -> list[dict[str, Any]]:
        rich = self._message(job, now)
        simple = plain(rich)
        mine = {"key": job.delivery.key, "state": str(job.story.state)}
        kind = str(rich.metadata.get("event_type") or "ops_event")
        full = {"event_type": kind, "event_payload": {**rich.metadata.get("event_payload", {}), **mine}}
        short = {"event_type": kind, "event_payload": mine}
        return [
            {"text": rich.text, "blocks": rich.blocks, "metadata": full},
            {"text": simple.text, "blocks": [], "metadata": short},
            {"text": clip(simple.text, 300), "blocks": [], "metadata": short},
            # The last resort: shown without it, a message can no longer be found after a doubt.
            {"text": clip(simple.text, 300), "blocks": []},
        ]

    def _message(self, job: Job, now: datetime) -> Message:
        # Shown again as it was, at somebody's request, it is not late.
        news = job.delivery.wanted > job.delivery.shown
        late = max(0.0, (now - job.story.last_at).total_seconds()) if news else 0.0
        aloud = reply_state(job.delivery.key, job.delivery.correlation)
        try:
            if job.missed:
                since = job.story.started_at or job.story.first_at
                return catch_up(job.missed, sink="Slack", since=since, now=now, settings=self._settings)
            if aloud is not None:
                return reply(job.story, now=now, settings=self._settings, delayed_seconds=late)
            return render(job.story, now=now, settings=self._settings, delayed_seconds=late)
        except Exception:  # a message that looks poor is told; one that is not told is lost
            log.exception("%s could not be rendered", job.delivery.key)
            return Message(text=_bare(job.story, self._settings.page_url), blocks=[], metadata={})

    def _find(
        self, job: Job, source: Callable[..., SlackResponse], where: dict[str, str], since: datetime, now: datetime
    ) -> Found | Absent | Failure:
        looked = find(source, where, job.delivery.key, since, now)
        return Found(looked.ref | {"lane": job.delivery.lane}) if isinstance(looked, Found) else looked


def _needs_no_reply(job: Job, head: dict[str, Any] | None, state: State) -> bool:
    """Whether the message above, `head`, says it: it was posted in that state, and heard; or it is over meanwhile."""
    heard = head is not None and head.get("lane") == job.delivery.lane and head.get("state") == state
    return heard or job.story.state in (State.FINISHED, State.RESOLVED)


def _refused(answer: No | Failure) -> Failure:
    if not isinstance(answer, No):
        return answer
    # What we know to be about the message stays so. What is new to us may pass: never give up on it.
    return Refused(answer.error) if answer.meaning == Meaning.CONTENT else Retry(answer.error, alone=True)


def _bare(story: Story, page_url: str) -> str:
    parts = [story.environment, story.service or story.image, story.tag, str(story.kind), str(story.state)]
    said = " · ".join(re.sub(r"[^\w.:-]", "_", part) for part in parts if part)
    return f"{said} · {page_url}"

"""Every setting of the ops bot, read from the environment: `OPS_BOT_<NAME>`. docs/ops_bot.md lists them for users."""

import difflib
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ops_bot.events import Kind

PREFIX = "OPS_BOT_"


class Severity(StrEnum):
    """How much a person must care, least first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return list(Severity).index(self)


class Route(BaseModel):
    """Where messages of some sort go. What is left out matches everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str = ""
    kind: Kind | None = None
    severity: Severity = Severity.INFO  # this and worse
    channel: str = ""  # empty: the default channel
    mention: str = ""  # said in front of the message: "<!here>", "<@U024BE7LH>", "<!subteam^S012>"

    def matches(self, environment: str, kind: Kind, severity: Severity) -> bool:
        """Whether a message of this sort goes this way."""
        return (
            self.environment in ("", environment) and self.kind in (None, kind) and severity.rank >= self.severity.rank
        )


class Settings(BaseSettings):
    """The settings of one running bot. `Settings()` reads the environment; keywords win over it.

    Raises pydantic.ValidationError on a wrong value, and on an `OPS_BOT_*` variable that does not exist.
    """

    # Errors must not repeat values: some are secrets.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    environment_name: str = Field(
        default="local", description="The environment this bot runs in, as its own alerts say"
    )
    ledger_url: str = Field(
        default="sqlite:///ledger.db", description="Where everything is recorded: SQLite or PostgreSQL"
    )
    retention_days: int = Field(default=365, ge=1, description="Stories nothing happened to for longer are forgotten")
    lost_after_seconds: int = Field(
        default=3600,
        ge=60,
        description="A rollout or build heard nothing of for longer is reported lost; its `until` wins",
    )

    listen: str = Field(default="127.0.0.1", description="The address intake and page listen on")
    port: int = Field(default=8765, ge=0, le=65535, description="Their port; 0 picks a free one")
    token: SecretStr | None = Field(
        default=None, description="What senders of events present as a bearer token; unset refuses"
    )
    rate_limit: int = Field(
        default=5000, ge=1, description="Events a second taken from one sender, before it is told to wait"
    )
    page_url: str = Field(
        default="http://127.0.0.1:8765", description="How people reach the page; links in messages start so"
    )
    page_password: SecretStr | None = Field(default=None, description="What the page asks for; unset: nothing")
    time_zone: str = Field(default="UTC", description="The zone of times where the reader's own is not known")

    slack_token: SecretStr | None = Field(
        default=None, description="Bot token; unset: the page's feed shows what would be sent"
    )
    slack_channel: str = Field(
        default="#operations", description="The channel of everything that no route sends elsewhere"
    )
    slack_url: str = Field(default="https://slack.com/api/", description="Slack's Web API")
    routes: list[Route] = Field(
        default=[],
        description="JSON list of {environment, kind, severity, channel, mention}; the first that matches wins",
    )

    datadog_api_key: SecretStr | None = Field(default=None, description="Sends events to Datadog; unset: does not")
    datadog_app_key: SecretStr | None = Field(
        default=None, description="Finds events there again, and pushes dashboards"
    )
    datadog_url: str = Field(default="https://api.datadoghq.com", description="The API of your Datadog site")
    statsd_host: str = Field(default="", description="The Datadog agent metrics are sent to; empty: none")
    statsd_port: int = Field(default=8125, ge=1, le=65535, description="Its DogStatsD port")
    dashboards_dir: Path = Field(default=Path("dashboards"), description="Dashboards and monitors as data")

    journal_dir: str = Field(default="", description="The hosts' journals, followed for errors; empty: none")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: object) -> object:
        refuse_unknown(os.environ, cls.model_fields)
        return values

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {value!r}; for example Europe/Berlin") from None
        return value

    @field_validator("page_url", "slack_url", "datadog_url")
    @classmethod
    def _is_http_url(cls, value: str) -> str:
        TypeAdapter(AnyHttpUrl).validate_python(value)
        return value

    @field_validator("ledger_url")
    @classmethod
    def _is_known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://")):
            raise ValueError("give sqlite:///ledger.db (one more slash for an absolute path) or postgresql://…")
        return value

    @model_validator(mode="after")
    def _search_needs_both_keys(self) -> Self:
        if self.datadog_app_key and not self.datadog_api_key:
            raise ValueError("datadog_app_key works with datadog_api_key only: set both")
        return self

    def route(self, environment: str, kind: Kind, severity: Severity) -> Route:
        """Where a message of this sort goes; its `channel` is never empty."""
        for route in self.routes:
            if route.matches(environment, kind, severity):
                return route.model_copy(update={"channel": route.channel or self.slack_channel})
        return Route(channel=self.slack_channel)

    @property
    def sinks(self) -> list[Literal["slack", "feed", "datadog"]]:
        """The sinks that are configured. Without Slack, the page's feed stands in for it."""
        chat: Literal["slack", "feed"] = "slack" if self.slack_token else "feed"
        return [chat, "datadog"] if self.datadog_api_key else [chat]


def refuse_unknown(variables: Iterable[str], fields: Iterable[str]) -> None:
    """Raise ValueError when one of `variables` starts with our prefix and names none of `fields`."""
    known = [PREFIX + name.upper() for name in fields]
    for variable in sorted(variables):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            near = difflib.get_close_matches(variable.upper(), known, n=1, cutoff=0)
            raise ValueError(f"there is no setting {variable}; did you mean {near[0]}?")

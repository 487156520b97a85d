"""The settings of the ops bot: read from the environment, wrong ones refused in words that help, secrets never said."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from ops_bot.events import Kind
from ops_bot.settings import Route, Settings, Severity


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("OPS_BOT_"):
            monkeypatch.delenv(name)


def test_without_any_it_runs_on_this_machine_alone() -> None:
    settings = Settings()
    assert (settings.listen, settings.ledger_url, settings.sinks) == ("127.0.0.1", "sqlite:///ledger.db", ["feed"])
    assert settings.token is None


def test_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_BOT_SLACK_TOKEN", "a-token")
    monkeypatch.setenv("OPS_BOT_DATADOG_API_KEY", "")  # as an env file leaves what is not set
    monkeypatch.setenv("ops_bot_port", "0")
    settings = Settings()
    assert (settings.sinks, settings.port) == (["slack"], 0)
    assert Settings(slack_token=None).sinks == ["feed"], "what code says wins"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OPS_BOT_SLAK_TOKEN", "x", "there is no setting OPS_BOT_SLAK_TOKEN; did you mean OPS_BOT_SLACK_TOKEN?"),
        ("OPS_BOT_TIME_ZONE", "Berlin", "there is no time zone 'Berlin'; for example Europe/Berlin"),
        ("OPS_BOT_TIME_ZONE", "../../etc/passwd", "there is no time zone"),
        ("OPS_BOT_PAGE_URL", "ops1", "valid URL"),
        ("OPS_BOT_PORT", "70000", "65535"),
        ("OPS_BOT_LEDGER_URL", "mysql://x", "give sqlite:///ledger.db"),
        ("OPS_BOT_RETENTION_DAYS", "0", "greater than or equal to 1"),
        ("OPS_BOT_ROUTES", '[{"enviroment": "production"}]', "enviroment"),
        ("OPS_BOT_DATADOG_APP_KEY", "a-secret", "datadog_app_key works with datadog_api_key only: set both"),
    ],
)
def test_what_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert said in str(refusal.value)


def test_no_refusal_repeats_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_BOT_SLACK_TOKEN", "the-token")
    monkeypatch.setenv("OPS_BOT_DATADOG_APP_KEY", "the-key")
    monkeypatch.setenv("OPS_BOT_PORT", "http")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    monkeypatch.setenv("OPS_BOT_PORT", "1")
    with pytest.raises(ValidationError) as another:
        Settings()
    for error in (refusal.value, another.value):
        assert "the-token" not in str(error)
        assert "the-key" not in str(error)


def test_nothing_prints_a_secret() -> None:
    settings = Settings.model_validate({"slack_token": "the-token", "token": "the-key"})
    assert "the-" not in repr(settings) + str(settings) + settings.model_dump_json()


ROUTES = [
    Route(environment="production", severity=Severity.ERROR, channel="#fires", mention="<!here>"),
    Route(environment="production", mention="<@U1>"),
    Route(kind=Kind.BUILD, severity=Severity.WARNING, channel="#builds"),
]


@pytest.mark.parametrize(
    ("environment", "kind", "severity", "channel", "mention"),
    [
        ("production", Kind.DEPLOY, Severity.ERROR, "#fires", "<!here>"),
        ("production", Kind.DEPLOY, Severity.WARNING, "#operations", "<@U1>"),
        ("production", Kind.BUILD, Severity.WARNING, "#operations", "<@U1>"),
        ("staging", Kind.BUILD, Severity.ERROR, "#builds", ""),
        ("staging", Kind.BUILD, Severity.INFO, "#operations", ""),
        ("staging", Kind.DEPLOY, Severity.ERROR, "#operations", ""),
    ],
)
def test_the_first_route_that_matches_wins(
    environment: str, kind: Kind, severity: Severity, channel: str, mention: str
) -> None:
    route = Settings(routes=ROUTES).route(environment, kind, severity)
    assert (route.channel, route.mention) == (channel, mention)

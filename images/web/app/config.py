"""Configuration: environment variables, checked once at start."""

import socket
from collections.abc import Mapping
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator


class ConfigError(Exception):
    """One line naming every variable that is missing or wrong; never a value, it may be a secret."""


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    database_url: SecretStr
    port: int = Field(default=8000, ge=1, le=65535)
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    drain_seconds: int = Field(default=30, ge=0, le=3600)
    # Who this is, told by whoever starts it; shown in /version and in the footer of each page.
    service: str = "web"
    tag: str = "dev"
    digest: str = ""
    revision: str = ""
    slot: str = ""
    host: str = Field(default_factory=socket.gethostname)
    environment: str = "local"

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        """Refused here in words of our own: PostgreSQL's would quote the password, or what of it became a host."""
        url = value.get_secret_value()
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:
            parts = {}
        host, port = str(parts.get("host", "")), str(parts.get("port", "5432"))
        if (
            not url.startswith(("postgresql://", "postgres://"))
            or not host
            or "@" in host
            or not port.replace(",", "").isdecimal()
        ):
            raise ValueError("should be postgresql://user:password@host/database, special characters as %40")
        return value


def load(environ: Mapping[str, str]) -> Config:
    """An empty variable counts as absent: that is what a line `PORT=` in an env file means."""
    given = {name.lower(): value for name, value in environ.items() if name.isupper() and value}
    try:
        return Config.model_validate(given)
    except ValidationError as error:
        raise ConfigError("; ".join(_problem(one["type"], one["loc"], one["msg"]) for one in error.errors())) from None


def _problem(kind: str, location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]).upper()
    if kind == "missing":
        return f"{name} is missing"
    return f"{name}: {message.removeprefix('Value error, ')}"

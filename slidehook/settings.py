"""The site's settings: one frozen value, read once at the top of a program and handed down."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from slidehook.errors import SlidehookError
from slidehook.iaapi.allowed import is_prefix

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class SettingsInvalid(SlidehookError):
    """A setting has a value that it can't have."""


def _duration(value: Any) -> Any:
    """Read `90`, `90s`, `15min`, `1h` or `2d`; anything else is left to pydantic."""
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
        if seconds > timedelta.max.total_seconds():
            raise ValueError("is longer than any analysis can take")
        return timedelta(seconds=seconds)
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Settings(BaseSettings):
    """What a site can set, as environment variables `SLIDEHOOK_<NAME>` or in a `.env` file.

    Durations are seconds or bear a unit: `90`, `15min`, `1h`, `2d`.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLIDEHOOK_", env_file=".env", frozen=True, extra="ignore", env_ignore_empty=True
    )

    host: str = "0.0.0.0"  # noqa: S104 - DPAT calls from another host
    port: int = Field(default=5006, ge=0, le=65535)
    web_processes: int = Field(default=2, ge=1, le=64)
    web_threads: int = Field(default=32, ge=1, le=1024)
    trusted_proxies: int = Field(default=0, ge=0, le=8)
    """How many proxies stand in front, whose `X-Forwarded-Host` and `-Proto` are believed."""

    queue_dir: Path = Path("queue_dir")
    data_dir: Path = Path("data")

    dpat_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Callback URL prefixes that may be called; empty: loopback only."""
    dpat_ca_bundle: Path | None = None
    dpat_proxy: SecretStr | None = None
    """The HTTP proxy through which DPAT is called, with its user and password where it wants them."""
    dpat_user: str | None = None
    """The service account, with its password: fetches tokens when a request's own has expired."""
    dpat_password: SecretStr | None = None
    connect_timeout: Duration = timedelta(seconds=5)
    read_timeout: Duration = timedelta(seconds=30)
    """How long DPAT may send nothing before a request counts as failed."""

    store_phi: bool = False
    max_attempts: int = Field(default=3, ge=1, le=100)
    job_timeout: Duration = timedelta(hours=1)
    cache_gb: float = Field(default=50, ge=0)
    keep_days: float = Field(default=7, ge=0)
    demo_seconds: float = Field(default=3, ge=0, le=3600)
    admin_token: SecretStr | None = None

    @field_validator("dpat_urls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("dpat_urls")
    @classmethod
    def _urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not is_prefix(each):
                raise ValueError(f"{each!r} must be an http or https URL, without user, query, fragment or '..'")
        return value

    @field_validator("dpat_proxy")
    @classmethod
    def _proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_proxy(value.get_secret_value()):
            raise ValueError("must be an address such as http://proxy.example.org:3128, or http://user:password@…")
        return value

    @field_validator("dpat_ca_bundle")
    @classmethod
    def _is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.exists():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("queue_dir", "data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("connect_timeout", "read_timeout", "job_timeout")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than 0 s")
        return value


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    odd = any(ord(each) <= 32 or ord(each) == 127 for each in url) or port == 0
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not odd and not beyond


def read_settings() -> Settings:
    """Read the settings from the environment and `.env`; raises SettingsInvalid with one sentence."""
    try:
        settings = Settings()
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(fault["loc"][0]).upper() if fault["loc"] else "settings"
        raise SettingsInvalid(f"SLIDEHOOK_{name}: {fault['msg']}.") from error
    if (settings.dpat_user is None) != (settings.dpat_password is None):
        raise SettingsInvalid("SLIDEHOOK_DPAT_USER and SLIDEHOOK_DPAT_PASSWORD: both must be set, or neither.")
    return settings

"""The site's settings: one frozen value, read once when a program starts and passed on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from slidehook.callback_urls import is_prefix
from slidehook.envfile import read_env_file
from slidehook.errors import SettingsInvalid
from slidehook.terminal import plain

PREFIX = "SLIDEHOOK_"
ENV_FILE = Path(".env")
EXAMPLES = {
    "queue_dir": "/var/lib/slidehook/queue",
    "data_dir": "/var/lib/slidehook/data",
    "dpat_urls": "https://pathology.example.org/SectraPathologyServer",
    "dpat_ca_bundle": "/etc/ssl/certs/ca-certificates.crt",
    "dpat_user": "image-analysis",
    "dpat_proxy": "http://proxy.example.org:3128",
    "connect_timeout": "5s",
    "read_timeout": "30s",
    "job_timeout": "1h",
}
"""Examples of values, for settings whose default is not one."""
WORDS = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
}
"""The message for a wrong value, by pydantic's error type, where pydantic's own message is about Python."""
_SHOWN_CHARACTERS = 200
_ACCOUNT = re.compile(r"//[^/@]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    """Read `90`, `90s`, `15min`, `1h` or `2d`; an ISO 8601 duration such as `PT1H` is left to pydantic."""
    if isinstance(value, int | float):
        return timedelta(seconds=value)
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _SECONDS[match[2] or "s"]
        if seconds > timedelta.max.total_seconds():
            raise ValueError("is longer than any analysis can take")
        return timedelta(seconds=seconds)
    if isinstance(value, str) and not value.strip().startswith("P"):
        raise ValueError("must be a number of seconds, or a number with one of the units s, min, h and d")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Settings(BaseSettings):
    """What a site can set, as environment variables `SLIDEHOOK_<NAME>`; `read_settings` reads `.env` too.

    Durations are in seconds or have a unit: `90`, `15min`, `1h`, `2d`.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = "0.0.0.0"  # noqa: S104 - DPAT calls from another host
    port: int = Field(default=5006, ge=0, le=65535)
    web_processes: int = Field(default=2, ge=1, le=64)
    web_threads: int = Field(default=32, ge=1, le=1024)
    trusted_proxies: int = Field(default=0, ge=0, le=8)
    """The number of proxies in front whose `X-Forwarded-Host` and `-Proto` are trusted."""

    queue_dir: Path = Path("queue_dir")
    data_dir: Path = Path("data")

    dpat_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Callback URL prefixes that may be called; empty: loopback only."""
    dpat_ca_bundle: Path | None = None
    dpat_proxy: SecretStr | None = None
    """The HTTP proxy through which DPAT is called, with user and password if required."""
    dpat_user: str | None = None
    """The service account, with its password: fetches tokens when a request's own has expired."""
    dpat_password: SecretStr | None = None
    connect_timeout: Duration = timedelta(seconds=5)
    read_timeout: Duration = timedelta(seconds=30)
    """The longest silence of DPAT before a request counts as failed."""

    store_phi: bool = False
    max_attempts: int = Field(default=3, ge=1, le=100)
    job_timeout: Duration = timedelta(hours=1)
    min_free_gb: float = Field(default=2, ge=0, allow_inf_nan=False)
    """The free disk space in `DATA_DIR`, in GB, below which nothing is fetched."""
    keep_days: float = Field(default=7, ge=0, allow_inf_nan=False)
    demo_seconds: float = Field(default=3, ge=0, le=3600, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _plain_text(cls, value: Any) -> Any:
        if isinstance(value, str) and _CONTROL.search(value):
            raise ValueError("must hold no line break and no other control character")
        if isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError("must be UTF-8")
        return value

    @field_validator("host")
    @classmethod
    def _ipv4(cls, value: str) -> str:
        if ":" in value or not value.strip():
            raise ValueError("must be an IPv4 address or a host name, without a port; 0.0.0.0 means every address")
        return value.strip()

    @field_validator("dpat_user")
    @classmethod
    def _without_colon(cls, value: str | None) -> str | None:
        if value is not None and ":" in value:
            raise ValueError("must hold no colon, since HTTP sends the password behind one")
        return value

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
                raise ValueError("must be an http or https URL, without user, query, fragment or '..'")
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
            raise ValueError("names no file that is there")
        return value

    @field_validator("queue_dir", "data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("begins with a ~, and no home is known") from error

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


def read_settings(env_file: Path = ENV_FILE) -> Settings:
    """Read the settings from the environment and from `env_file`; the environment takes precedence.

    Raises SettingsInvalid with one line for each setting that is unknown or has a wrong value.
    """
    wrong = [_unknown(name, "the environment") for name in os.environ if _is_ours(name) and not _field(name)]
    here = {field for name, value in os.environ.items() if value and (field := _field(name))}
    given: dict[str, str] = {}
    for entry in read_env_file(env_file.absolute()):
        field = _field(entry.name)
        if field is None and _looks_like_ours(entry.name):
            wrong.append(_unknown(entry.name, entry.where))
        elif field is not None and field not in here:
            if entry.altered and _is_secret(field):
                wrong.append(f"{entry.name} in {entry.where} would not be taken as it stands: {entry.altered}.")
            elif entry.value:
                given[field] = entry.value
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsInvalid("\n".join([*wrong, *_sentences(error)])) from error
    if wrong:
        raise SettingsInvalid("\n".join(wrong))
    if (settings.dpat_user is None) != (settings.dpat_password is None):
        raise SettingsInvalid("SLIDEHOOK_DPAT_USER and SLIDEHOOK_DPAT_PASSWORD: both must be set, or neither.")
    return settings


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _looks_like_ours(name: str) -> bool:
    """Return whether a name in `.env` is meant for slidehook, even if its prefix is misspelt."""
    return name.startswith("SLIDEHOOK") or SequenceMatcher(None, name.partition("_")[0], "SLIDEHOOK").ratio() > 0.8


def _field(name: str) -> str | None:
    field = name.upper().removeprefix(PREFIX).lower()
    return field if _is_ours(name) and field in Settings.model_fields else None


def _unknown(name: str, where: str) -> str:
    wanted = name.upper().removeprefix(PREFIX).lower()
    nearest = max(Settings.model_fields, key=lambda each: SequenceMatcher(None, wanted, each).ratio())
    return (
        f"{_cleaned(name)} in {where} is no setting; the nearest one is {PREFIX}{nearest.upper()}{_example(nearest)}."
    )


def _sentences(error: ValidationError) -> Iterator[str]:
    """Return one line for each wrong setting: the reason, its value (unless it is a secret), and an example."""
    for fault in error.errors(include_url=False, include_context=False):
        field = str(fault["loc"][0])
        value = "its value" if _is_secret(field) else _cleaned(repr(_text(fault["input"])))
        reason = WORDS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
        yield f"{PREFIX}{field.upper()}: {value} {reason}{_example(field)}."


def _text(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else value


def _example(field: str) -> str:
    default = Settings.model_fields[field].default
    if field not in EXAMPLES and (default is None or _is_secret(field)):
        return ""
    value = EXAMPLES.get(field, str(default).lower() if isinstance(default, bool) else str(default))
    return f", for example {PREFIX}{field.upper()}={value}"


def _is_secret(field: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[field].annotation)


def _cleaned(text: str) -> str:
    """Return a value for a message: shortened, without a URL's password and without terminal control characters."""
    text = _ACCOUNT.sub("//…@", text)
    text = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return plain(text)


def settings_for_apps(settings: Settings, *, proxy: bool = False) -> Settings:
    """Return the settings without secrets and without the service account.

    `proxy`: keep the proxy's address, which may contain a password. A process that reads tiles from DPAT needs it.
    """
    secrets = {name for name in type(settings).model_fields if isinstance(getattr(settings, name), SecretStr)}
    kept = {"dpat_proxy"} if proxy else set()
    return settings.model_copy(update=dict.fromkeys((secrets | {"dpat_user"}) - kept))

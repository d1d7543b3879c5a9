"""The one place that reads the environment: a frozen settings object per process."""

import locale
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticKnownError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.kit.catalogue import Locale
from services.kit.failures import Failure

T = TypeVar("T")
PREFIX = "DUTYLOOP_"


class SettingsError(Failure):
    """A setting is missing or malformed; the words name the environment variable."""


def _json_of(value: Any) -> Any:
    """Read JSON here: what pydantic-settings says of a text that is none does not name the variable."""
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        raise PydanticKnownError("dict_type") from None


class Settings(BaseSettings):
    """Process settings, read from ``DUTYLOOP_*`` variables. Secrets have no default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = None
    """PostgreSQL URL without user and password; each service logs in as its own role."""
    database_secrets: Path | None = None
    """Folder with a file per database role, named as the role, that holds its password; each process reads its own."""
    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "dutyloop"
    temporal_task_queue: str = "dutyloop"
    listen_address: str = "127.0.0.1:7400"
    """Where this process serves gRPC, ``host:port``."""
    api_address: str = "127.0.0.1:7400"
    """Where this process reaches the other services."""
    api_addresses: Annotated[dict[str, str], NoDecode, BeforeValidator(_json_of)] = Field(default_factory=dict)
    """JSON object: service name to address, for services that are deployed apart; the rest share api_address."""
    tls_certificate_file: Path | None = None
    """Certificate chain (PEM) with which this process serves gRPC; without one it serves in clear text."""
    tls_key_file: Path | None = None
    """The certificate's private key (PEM)."""
    tls_ca_file: Path | None = None
    """Authorities (PEM) that vouch for the services; with it this process calls them by TLS."""
    allow_plaintext: bool = False
    """Something else encrypts: clear text may leave this machine as far as this process can tell."""
    trusted_keys_file: Path | None = None
    """JWKS of the public keys that may sign access tokens."""
    service_key_file: Path | None = None
    """Ed25519 private key (PEM) with which this process signs its own service tokens."""
    issuer_key_file: Path | None = None
    """Ed25519 private key (PEM) of the development issuer; absent in production."""
    codec_keys_file: Path | None = None
    """JSON: ``{"current": key id, "keys": {key id: base64 of 32 bytes}}`` for Temporal payloads."""
    checkpoint_key_file: Path | None = None
    """Ed25519 private key (PEM) with which the sequencer signs ledger checkpoints; nobody else needs it."""
    checkpoint_vkey_file: Path | None = None
    """Public keys of ledger checkpoints in their C2SP form (vkey), one a line: all that verification needs."""
    checkpoint_file: Path | None = None
    """Where signed checkpoints are also kept outside the database."""
    token: SecretStr | None = None
    """The access token of whoever uses the command line; without one the development issuer signs."""
    data_dir: Path = Path("build/stack")
    """Where the embedded stack keeps everything; the command line looks there for a running one."""
    audience: str = "dutyloop"
    virtual_time: bool = False
    """Business time is directory's forward-only clock instead of the wall clock."""
    locale: Locale = "zh-CN"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pool_size: int = Field(default=5, ge=2, le=5)
    """Connections per service and process (the connection budget of the house)."""
    command_retention_days: int = Field(default=90, ge=30)
    """How long a request id is remembered with its answer; must exceed the time for which any client repeats it."""
    max_concurrent_calls: int = Field(default=256, ge=8)
    worker_call_share: float = Field(default=0.25, gt=0, lt=1)
    """Share of the calls reserved for the worker, so that outer calls cannot starve inner ones."""
    default_deadline_seconds: float = Field(default=30.0, gt=0)
    """Imposed on a call that brings no deadline."""
    max_deadline_seconds: float = Field(default=120.0, gt=0)
    """A caller that asks for longer keeps its place no longer than this."""
    shutdown_grace_seconds: float = Field(default=10.0, ge=0)


@cache
def settings() -> Settings:
    """Read the environment once. Raises SettingsError naming the variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError("malformed_setting", setting=name, detail=first["msg"]) from None


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Return the settings of a stack whose ``DUTYLOOP_*`` variables are given; the environment has the rest."""
    given: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in variables.items()}
    return Settings(**given)


def adopt(variables: Mapping[str, str], *, over: bool = False) -> None:
    """Put variables into the environment of this process; those that it has already stand unless ``over``."""
    for name, value in variables.items():
        if over or name not in os.environ:
            os.environ[name] = value
    settings.cache_clear()


def terminal_locale() -> Locale:
    """Return DUTYLOOP_LOCALE when it names a language of ours, else Chinese unless the terminal is English."""
    wanted = os.environ.get("DUTYLOOP_LOCALE") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    if not wanted:
        wanted = locale.getlocale()[0] or ""
    return "en" if wanted.lower().startswith("en") else "zh-CN"


def required(value: T | None, name: str) -> T:
    """Return a setting that this process cannot do without, or name the missing variable."""
    if value is None:
        raise SettingsError("not_set", setting=PREFIX + name.upper())
    return value

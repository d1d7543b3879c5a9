"""The one place that reads the environment: a frozen settings object per process."""

from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

T = TypeVar("T")


class SettingsError(Exception):
    """A setting is missing or malformed; the text names the environment variable."""


class Settings(BaseSettings):
    """Process settings, read from ``DUTYLOOP_*`` variables. Secrets have no default."""

    model_config = SettingsConfigDict(env_prefix="DUTYLOOP_", frozen=True, extra="ignore")

    database_url: SecretStr | None = None
    """PostgreSQL URL without user and password; each service logs in as its own role."""
    database_secrets_file: Path | None = None
    """JSON object: database role name to password. Required by every process with a store."""
    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "dutyloop"
    temporal_task_queue: str = "dutyloop"
    listen_address: str = "127.0.0.1:7400"
    """Where this process serves gRPC, ``host:port``."""
    api_address: str = "127.0.0.1:7400"
    """Where this process reaches the other services."""
    api_addresses: dict[str, str] = Field(default_factory=dict)
    """JSON object: service name to address, for services that are deployed apart; the rest share api_address."""
    trusted_keys_file: Path | None = None
    """JWKS of the public keys that may sign access tokens."""
    service_key_file: Path | None = None
    """Ed25519 private key (PEM) with which this process signs its own service tokens."""
    issuer_key_file: Path | None = None
    """Ed25519 private key (PEM) of the development issuer; absent in production."""
    codec_keys_file: Path | None = None
    """JSON: ``{"current": key id, "keys": {key id: base64 of 32 bytes}}`` for Temporal payloads."""
    checkpoint_key_file: Path | None = None
    """Ed25519 private key (PEM) with which the sequencer signs ledger checkpoints."""
    checkpoint_file: Path | None = None
    """Where signed checkpoints are also kept outside the database."""
    audience: str = "dutyloop"
    virtual_time: bool = False
    """Business time is directory's forward-only clock instead of the wall clock."""
    locale: Literal["zh-CN", "en"] = "zh-CN"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pool_size: int = Field(default=5, ge=1, le=5)
    """Connections per service and process (the connection budget of the house)."""
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
        name = "DUTYLOOP_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name}: {first['msg']}") from None


def required(value: T | None, name: str) -> T:
    """Return a setting that this process cannot do without, or name the missing variable."""
    if value is None:
        raise SettingsError(f"DUTYLOOP_{name.upper()} is not set")
    return value

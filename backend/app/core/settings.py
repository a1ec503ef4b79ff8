"""What depends on the deployment. The only reader of environment and .env; sealed once it is built."""

import hashlib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.adaptive_buffers import FIRST_TOKEN_S, SLOW_CLIENT_S
from fluido.llm import keep_alive_of

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Of the source tree and of the current folder, which wins; the environment wins over both.
ENV_FILES = (Path(__file__).parents[3] / ".env", Path(".env"))
_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}")


def _env(name: str) -> AliasChoices:
    return AliasChoices(name.lower(), name)


class Settings(BaseSettings):
    """Settings of one Sentinel process, read from the environment when constructed.

    Raises pydantic's `ValidationError` with a sentence for each value that cannot be used.
    """

    model_config = SettingsConfigDict(
        env_prefix="SENTINEL_", env_file=ENV_FILES, frozen=True, extra="ignore", populate_by_name=True
    )

    # `description` is what `python -m app settings` and docs/operations.md say. An address may hold a
    # password, so none is shown with the settings.
    host: str = Field(
        default="127.0.0.1",
        validation_alias=AliasChoices("SENTINEL_HOST", "HOST"),
        description="The address to listen on; another than loopback needs a key.",
    )
    port: int = Field(
        default=8000,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("SENTINEL_PORT", "PORT"),
        description="The port to listen on.",
    )
    database_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=_env("DATABASE_URL"),
        description="PostgreSQL: postgresql://user:password@host/database. `make run` brings one along.",
    )
    redis_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=_env("REDIS_URL"),
        description="A cache: redis://:password@host/0. Without it histories are read from PostgreSQL.",
    )
    ollama_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=_env("OLLAMA_URL"),
        description="One Ollama, or several with commas; each has a queue of its own.",
    )
    openai_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=_env("OPENAI_URL"),
        description="The same for servers with /v1/chat/completions: llama.cpp, vLLM, LM Studio, LiteLLM.",
    )
    openai_api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("OPENAI_API_KEY"),
        description="Sent to each engine of OPENAI_URL; one with a key of its own has it in its address: "
        "http://:key@host (Bearer) or http://user:password@host (Basic).",
    )
    ollama_api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("OLLAMA_API_KEY"),
        description="The same for each engine of OLLAMA_URL.",
    )
    engine_headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='Sent with every request to an engine: JSON, as {"X-Team": "blue"}.',
    )
    engine_window: int | None = Field(
        default=None,
        ge=1,
        description="Tokens, for an engine that does not tell its window; else its refusals teach it.",
    )
    engine_slots: int | None = Field(
        default=None,
        ge=1,
        description="How many calls each engine works on at a time, fixed; unset: found, and followed.",
    )
    engine_kv_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens that all slots of a llama.cpp hold together (split slots: slots times window), "
        "which it does not tell; 0: found out by use, from one window on.",
    )
    keep_alive: str | None = Field(
        default=None,
        description="How long Ollama keeps the model (30m, -1); unset leaves OLLAMA_KEEP_ALIVE in force.",
    )
    model: str | None = Field(default=None, description="The model to ask for; unset: the one that is there.")
    gateway: bool = Field(
        default=False,
        description="Serve Ollama's and OpenAI's APIs as well, on SENTINEL_GATEWAY_PORT, with the same keys "
        "and one queue for both (docs/gateway.md).",
    )
    gateway_port: int = Field(
        default=11435, ge=0, le=65535, description="Where; 0: a free port, which the log names."
    )
    data_dir: Path | None = Field(
        default=None,
        description="Where `make run` keeps its servers' data; unset: .sentinel in the source tree.",
    )
    limits_file: Path | None = Field(
        default=None,
        description="Where what the pool's limit has learned outlives a restart; unset: limits.json in "
        "SENTINEL_DATA_DIR, or in the user's cache folder; `off`: nowhere.",
    )
    migrate: bool = Field(default=True, description="Apply the schema's migrations at the start.")

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Keys that callers must show, with commas; each is a tenant of its own."
    )
    tenant_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="The same as name:key; several keys of one name are one tenant."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names by which a Sentinel without keys may be asked for, beside its address and names "
        "without a dot (a proxy in front that passes Host).",
    )
    requests_per_minute: int = Field(
        default=0, ge=0, description="The quota of a tenant, as a bucket that refills evenly; 0: none."
    )
    max_body_bytes: int = Field(default=65_536, ge=1024, description="A longer request body is refused: 413.")
    max_message_chars: int = Field(default=8_000, ge=1, description="A longer message is refused: 422.")
    deadline_s: float = Field(
        default=FIRST_TOKEN_S,
        gt=0,
        le=3600,
        description="Seconds to the first token where the request says no deadline_s.",
    )
    slow_client_s: float = Field(
        default=SLOW_CLIENT_S, gt=0, description="Seconds that a client may take none of its stream."
    )
    header_s: float = Field(default=10.0, gt=0, description="Seconds that a request's headers may take.")
    body_s: float = Field(default=30.0, gt=0, description="Seconds that its body may take after that.")
    max_answer_chars: int = Field(
        default=200_000, ge=1, description="An answer ends here, whatever the engine does."
    )
    max_answer_s: float = Field(default=900.0, gt=0, description="And after so many seconds.")
    storage_wait_s: float = Field(
        default=20.0,
        ge=0,
        description="Seconds that a request waits for a PostgreSQL that is replaced, within its deadline.",
    )
    keep_requests_days: float = Field(
        default=30.0, ge=0, description="Idempotency keys older than that are deleted; 0 keeps them."
    )
    keep_timings_days: float = Field(
        default=30.0, ge=0, description="Timings older than that are deleted; 0 keeps them."
    )
    announce_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between 'not ready' and the first refusal when it leaves: longer than the "
        "balancer's check interval times its tolerance.",
    )
    drain_s: float = Field(default=20.0, ge=0, description="Seconds that running answers have after that.")
    replicas: int = Field(
        default=1,
        ge=1,
        description="How many processes like this one share PostgreSQL: each takes its part of "
        "max_connections.",
    )
    log_level: str = Field(default="INFO", description=f"One of {', '.join(LEVELS)}.")
    traces: bool = Field(default=False, description="Make spans; needs the extra fluido[opentelemetry].")

    @field_validator("api_keys", "tenant_keys", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("tenant_keys", mode="after")
    @classmethod
    def _named(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for each in value:
            name, colon, key = each.get_secret_value().partition(":")
            if not (colon and key and _NAME.fullmatch(name)):
                msg = (
                    "SENTINEL_TENANT_KEYS takes `name:key` pairs with commas between them; a name has up "
                    "to 32 letters, digits, dots, hyphens and underscores."
                )
                raise ValueError(msg)
        return value

    @field_validator("log_level", mode="after")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in LEVELS:
            msg = f"SENTINEL_LOG_LEVEL must be one of {', '.join(LEVELS)}, not {value!r}"
            raise ValueError(msg)
        return value.upper()

    @field_validator("keep_alive", mode="after")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None:
            keep_alive_of(value)
        return value

    @field_validator("database_url", mode="after")
    @classmethod
    def _async_driver(cls, value: str | None) -> str | None:
        """Accept what people have in their environment: `postgres://` and `postgresql://`."""
        return None if value is None else _async_url(value)

    @model_validator(mode="after")
    def _no_open_door(self) -> "Settings":
        if not _is_loopback(self.host) and not self.has_keys:
            msg = (
                f"Sentinel refuses to listen on {self.host} without a key: set SENTINEL_API_KEYS, "
                "or keep HOST on 127.0.0.1 and put a proxy in front."
            )
            raise ValueError(msg)
        return self

    @property
    def has_keys(self) -> bool:
        """Whether callers must show a key."""
        return bool(self.api_keys or self.tenant_keys)

    def keys(self) -> dict[str, str]:
        """Tenant by key. A key without a name is a tenant of its own, named by its digest."""
        found = {
            key: f"key-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
            for key in (each.get_secret_value() for each in self.api_keys)
        }
        for each in self.tenant_keys:
            name, _, key = each.get_secret_value().partition(":")
            found[key] = name
        return found

    def memory(self) -> Path | None:
        """The file that keeps what the pool's limit has learned; None where nothing is to be kept."""
        if self.limits_file is not None:
            return None if str(self.limits_file).lower() == "off" else self.limits_file
        folder = self.data_dir or _cache_folder()
        return None if folder is None else folder / "limits.json"

    def required_database_url(self) -> str:
        """Return the database's address, or say how to get one."""
        if self.database_url is None:
            msg = (
                "DATABASE_URL is not set: `python -m app` (or `make run`) brings a PostgreSQL along, "
                "or set it to postgresql://user:password@host/database."
            )
            raise ValueError(msg)
        return self.database_url

    def on(self, **found: str | None) -> "Settings":
        """The same, on servers that were found or started: addresses and a model by their names."""
        if (url := found.get("database_url")) is not None:
            found["database_url"] = _async_url(url)
        return self.model_copy(update=found)


def environment() -> dict[str, str]:
    """The environment, with names in upper case."""
    return {name.upper(): value for name, value in os.environ.items()}


def _cache_folder() -> Path | None:
    """Where a user's caches are; None for one without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentinel-fluido"
    except RuntimeError:
        return None


def _async_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme in {"postgres", "postgresql"}:
        return f"postgresql+asyncpg://{rest}"
    if scheme.startswith("postgresql+"):
        return url
    msg = f"DATABASE_URL must start with postgresql://, not {scheme}://"
    raise ValueError(msg)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

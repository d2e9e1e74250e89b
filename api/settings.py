"""The settings: the one place that reads the environment."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Everything that can be set from outside, as ``TAKINGS_…``; each with a default that works."""

    model_config = SettingsConfigDict(env_prefix="TAKINGS_", env_file=".env", extra="ignore")

    database_url: str | None = Field(
        default=None,
        repr=False,  # it holds a password
        description="PostgreSQL ≥ 15, as the role that serves; unset: embedded",
    )
    owner_url: str | None = Field(
        default=None, repr=False, description="the same database, as the role that migrates"
    )
    home: Path = Field(
        default=Path.home() / ".local" / "share" / "takings",
        description="where the embedded PostgreSQL lives",
    )
    postgres_bin: Path | None = Field(
        default=None, description="other PostgreSQL binaries for the embedded server"
    )
    connections: int = Field(default=10, ge=1, description="per process, to PostgreSQL")

    stripe_api_key: SecretStr = Field(default=SecretStr(""), description="sk_test_… or sk_live_…")
    stripe_api_base: str | None = Field(
        default=None, description="another address of Stripe's API: the sandbox"
    )
    settlement_currencies: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="currencies that Stripe pays out unconverted; unset: all"
    )
    stripe_webhook_secrets: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list, description="signing secrets of /webhooks/stripe, comma-separated"
    )
    stripe_connect_secrets: Annotated[list[SecretStr], NoDecode] = Field(
        default_factory=list, description="signing secrets of /webhooks/stripe/connect"
    )

    host: str = Field(default="127.0.0.1", description="where the API listens")
    port: int = Field(default=8000, description="its port")

    @field_validator(
        "settlement_currencies", "stripe_webhook_secrets", "stripe_connect_secrets", mode="before"
    )
    @classmethod
    def _split(cls, text: object) -> object:
        return [part.strip() for part in text.split(",")] if isinstance(text, str) else text


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings of this process, read once."""
    return Settings()


def environment(**changed: str) -> dict[str, str]:
    """The environment for a process of ours, with some of our settings changed."""
    return os.environ | {f"TAKINGS_{name.upper()}": value for name, value in changed.items()}

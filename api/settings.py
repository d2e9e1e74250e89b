"""The settings: the one place that reads the environment."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, FilePath, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from sqlalchemy.exc import ArgumentError

from takings.database import BadAddress, address
from takings.money import DECIMALS

PREFIX = "TAKINGS_"
HIGHEST_PORT = 65535
FORM = "postgresql://user:password@host:port/database"
TESTING = ("sk_test_", "rk_test_")


class Settings(BaseSettings):
    """Everything that can be set from outside, as ``TAKINGS_…``; each with a default that works."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore")

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

    hosting_gate: str | None = Field(
        default=None, description="a policy whose hosts alone may schedule Spaces; unset: all may"
    )

    payout_approval: Annotated[dict[str, int], NoDecode] = Field(
        default_factory=dict,
        description="payouts above these wait for another person: eur:100000,usd:100000",
    )

    rate_limit: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="requests of one API key in ten seconds, all processes",
    )

    test_clock: FilePath | None = Field(
        default=None, description="a file: how many seconds ahead it is here and in the sandbox"
    )

    host: str = Field(default="127.0.0.1", description="where the API listens")
    port: int = Field(default=8000, ge=0, le=HIGHEST_PORT, description="its port")

    @field_validator("database_url", "owner_url")
    @classmethod
    def _usable(cls, url: str | None) -> str | None:
        try:
            parsed = address(url) if url is not None else None
        except BadAddress as error:
            raise ValueError(error.facts["what"]) from None
        except (ArgumentError, ValueError):
            raise ValueError(f"it is no address of a PostgreSQL, {FORM}") from None
        if parsed is not None and not 0 < (parsed.port or 5432) <= HIGHEST_PORT:
            raise ValueError(f"there is no port {parsed.port}")
        return url

    @field_validator("test_clock")
    @classmethod
    def _only_beside_the_sandbox(cls, path: Path | None, told: ValidationInfo) -> Path | None:
        key, base = (told.data.get(name) for name in ("stripe_api_key", "stripe_api_base"))
        if path is not None and not (base and key and key.get_secret_value().startswith(TESTING)):
            raise ValueError("time moves only beside the sandbox: with its address and a test key")
        return path

    @field_validator("payout_approval", mode="before")
    @classmethod
    def _by_currency(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        parts = [part.strip().split(":") for part in text.split(",") if part.strip()]
        if not all(len(part) == len(("eur", "1")) and part[0] in DECIMALS for part in parts):
            raise ValueError("write it as eur:100000,usd:100000, in minor units")
        return dict(parts)

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


class Sealed(Settings):
    """Settings that are only what is given: the environment and .env say nothing in them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, and no other source."""
        return (init_settings,)


def sealed(**values: object) -> Settings:
    """The settings of a world of its own; of ours it shares PostgreSQL's binaries, if any."""
    binaries = os.environ.get(variable("postgres_bin")) or None
    return Sealed.model_validate({"postgres_bin": binaries} | values)


def variable(name: str) -> str:
    """What a setting is called in the environment."""
    return f"{PREFIX}{name.upper()}"


def made() -> bool:
    """Whether it was make that started us."""
    return "MAKELEVEL" in os.environ


def environment(**told: str) -> dict[str, str]:
    """The environment for a process of ours: none of our settings but those that it is told."""
    rest = {name: text for name, text in os.environ.items() if not name.upper().startswith(PREFIX)}
    return rest | {variable(name): text for name, text in told.items()}

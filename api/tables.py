"""How the service's own rows are stored: the keys to its door."""

from datetime import datetime

from sqlmodel import Field

from takings.records import Row, moment


class ApiKey(Row, table=True):
    """A key of the platform's backend: shown once, stored as its hash."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    name: str
    hash: bytes = Field(unique=True)
    hint: str
    created_at: datetime = Field(sa_column=moment())
    revoked_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))

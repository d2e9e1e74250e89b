"""Passes, admissions, and what doors take along and tell, as the API hears and shows them."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from api.schemas.common import Input, Instant, Output, OwnId, Paging, Seconds, Text
from ticketing import admissions, doors, passes
from ticketing.door_keys import DoorKey
from ticketing.door_tables import AdmissionConflict
from ticketing.doors import DoorTicket, Judged, Use
from ticketing.sale_tables import Ticket

Count = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
QR: Final = "what the ticket's QR code says"
Device = Annotated[Text, Field(description="the name of the device that scans, such as north-2")]
Place = Annotated[Text, Field(description="where it stands, for people to read")]


class PublicKey(Output):
    """A key that passes are read by: Ed25519, 32 bytes in hexadecimal, and as a JSON Web Key.

    ``signs`` is the one that new passes are signed with.
    """

    id: str
    object: Literal["door_key"] = "door_key"
    signs: bool
    public: str
    jwk: Mapping[str, str]

    @classmethod
    def of(cls, key: DoorKey) -> Self:
        """The key as the API shows it."""
        return cls(id=key.id, signs=key.signs, public=key.public.hex(), jwk=key.jwk())


class TicketPass(Output):
    """A ticket's pass, and the same as a QR code: an SVG to be put into a page."""

    object: Literal["pass"] = "pass"
    ticket: str
    said: str = Field(serialization_alias="pass", description=QR)
    svg: str

    @classmethod
    def of(cls, ticket: str, said: str) -> Self:
        """The pass as the API shows it."""
        return cls(ticket=ticket, said=said, svg=passes.qr(said))


class AdmissionInput(Input):
    """A pass that is shown at a door of a Space."""

    id: OwnId | None = None
    said: Text = Field(alias="pass", description=QR)
    space: Text
    door: Device
    place: Place | None = None

    def wish(self, admission_id: str) -> admissions.AdmissionWish:
        """The admission as the books know it."""
        return admissions.AdmissionWish(admission_id, self.said, self.space, self.door, self.place)


class AdmissionFilter(Paging):
    """Which admissions are wanted."""

    space: Text | None = None


class Admission(Output):
    """A ticket's use at the door, once; ``at`` is when its pass was scanned first."""

    id: str
    object: Literal["admission"] = "admission"
    created: Seconds
    space: str
    run: str
    ticket: str
    number: int | None
    tier: str
    listener: str
    holder: str | None
    door: str
    place: str | None
    at: Seconds

    @classmethod
    def of(cls, admitted: admissions.Admitted) -> Self:
        """The admission as the API shows it."""
        admission, ticket = admitted.admission, admitted.ticket
        return cls(
            id=admission.id,
            created=admission.created_at,
            space=admission.space_id,
            run=ticket.run_id,
            ticket=ticket.id,
            number=ticket.number,
            tier=admitted.tier,
            listener=ticket.listener_id,
            holder=ticket.holder,
            door=admission.door,
            place=admission.place,
            at=admission.happened_at,
        )


class ListedTicket(Output):
    """A valid ticket, as a door takes it along.

    Only a pass with this serial and this digest is the ticket's: whoever has an older one has
    passed it on.
    """

    run: str
    number: int
    serial: int
    digest: str
    tier: str
    listener: str
    holder: str | None
    admitted_at: Seconds | None

    @classmethod
    def of(cls, ticket: DoorTicket) -> Self:
        """The ticket as the API shows it."""
        return cls(
            run=ticket.run,
            number=ticket.number,
            serial=ticket.serial,
            digest=ticket.digest.hex(),
            tier=ticket.tier,
            listener=ticket.listener,
            holder=ticket.holder,
            admitted_at=ticket.admitted_at,
        )


class DoorList(Output):
    """Every valid ticket of a Space: with the door keys, all that a door needs without the net."""

    object: Literal["door_list"] = "door_list"
    space: str
    data: list[ListedTicket]


class ScanInput(Input):
    """What a door saw: the pass, or what it read of one and vouches for."""

    said: Text | None = Field(default=None, alias="pass", description=QR)
    run: Text | None = None
    number: Count | None = None
    serial: Count | None = None
    at: Instant
    place: Place | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        parts = [part is not None for part in (self.run, self.number, self.serial)]
        if any(parts) == (self.said is not None) or any(parts) != all(parts):
            raise ValueError("send the pass, or run, number and serial of it")
        return self

    def scan(self) -> doors.Scan:
        """The scan as the books know it."""
        if self.run and self.number and self.serial:
            seen = passes.Pass(self.run, self.number, self.serial)
            return doors.Scan(seen, self.at, self.place)
        return doors.Scan(self.said or "", self.at, self.place)


class ScansInput(Input):
    """What one door saw while it was alone; sent again, it changes nothing."""

    door: Device
    scans: Annotated[list[ScanInput], Field(min_length=1, max_length=1000)]


class ScannedAt(Output):
    """Where and when a ticket was used."""

    door: str
    place: str | None
    at: Seconds

    @classmethod
    def of(cls, use: Use) -> Self:
        """The use as the API shows it."""
        return cls(door=use.door, place=use.place, at=use.happened_at)


class Scanned(Output):
    """What became of a scan: a conflict's ticket was used before, and ``first`` says where.

    A refused one has the code of what is wrong with it, as an admission would be answered.
    """

    outcome: Literal["admitted", "conflict", "refused"]
    number: int | None
    code: str | None
    first: ScannedAt | None

    @classmethod
    def of(cls, judged: Judged) -> Self:
        """What became of it, as the API shows it."""
        first = None if judged.first is None else ScannedAt.of(judged.first)
        return cls(outcome=judged.outcome, number=judged.number, code=judged.code, first=first)


class DoorReport(Output):
    """What became of a door's scans, in the order in which they were sent."""

    object: Literal["door_report"] = "door_report"
    space: str
    door: str
    data: list[Scanned]


class DoorConflict(Output):
    """Somebody whom a door let in with a ticket that was used before, or was not good any more.

    ``cause`` is the code that an admission would be answered with: already_admitted where another
    door was first.
    """

    object: Literal["admission_conflict"] = "admission_conflict"
    created: Seconds
    space: str
    ticket: str
    number: int | None
    listener: str
    cause: str
    door: str
    place: str | None
    at: Seconds

    @classmethod
    def of(cls, conflict: AdmissionConflict, ticket: Ticket) -> Self:
        """The conflict as the API shows it."""
        return cls(
            created=conflict.created_at,
            space=conflict.space_id,
            ticket=ticket.id,
            number=ticket.number,
            listener=ticket.listener_id,
            cause=conflict.cause,
            door=conflict.door,
            place=conflict.place,
            at=conflict.happened_at,
        )

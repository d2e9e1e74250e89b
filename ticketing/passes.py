"""Passes: what a ticket's QR code says, signed, so that a door can trust it without the net.

A pass is one text in capitals and digits (base 32, RFC 4648): it fits into an address, and QR codes
carry it in their small mode.  Beneath it are bytes:

    1 version · 4 key · 4 number · 4 serial · 8 digest of the secret · run's id · 64 signature

Numbers are big-endian; the digest is the beginning of the secret's SHA-256; the signature is
Ed25519 (RFC 8032) over all that stands before it.  A transfer gives a ticket the next serial and
another secret: passes of before are refused by whoever knows the ticket as it is now.
"""

import struct
from base64 import b32decode, b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

import segno
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from takings.errors import Conflict, Invalid
from ticketing.sale_tables import Ticket

HEAD: Final = struct.Struct(">B4sII8s")
VERSION: Final = 1
SIGNATURE: Final = 64
LONGEST: Final = 256
"""Letters of a pass: those of the longest id of a run come to 232."""


class BadPass(Invalid):
    """This is no pass of ours: {why}.

    Nobody is let in with it. Scan it again; who bought a ticket has a pass in their account.
    """

    param = "pass"


class NoPass(Conflict):
    """The ticket {id} is {state}: only a valid one has a pass.

    A ticket is valid from when it is paid until it is given back.
    """


@dataclass(frozen=True, slots=True)
class Pass:
    """Which ticket it is, and of which of its owners: they follow each other by serial.

    Without a digest it was not read here: a door has read it, and vouches for it.
    """

    run: str
    number: int
    serial: int
    digest: bytes = b""

    @classmethod
    def of(cls, ticket: Ticket) -> Self:
        """The pass of a ticket as it is now; raises NoPass where it is not valid."""
        if ticket.state != "valid" or ticket.number is None:
            raise NoPass(id=ticket.id, state=ticket.state)
        return cls(ticket.run_id, ticket.number, ticket.serial, digest(ticket.secret))


def digest(secret: bytes) -> bytes:
    """What a pass and a door's list say of a ticket's secret."""
    return sha256(secret).digest()[:8]


def sign(held: Pass, private: bytes) -> str:
    """The pass as its QR code says it."""
    key = Ed25519PrivateKey.from_private_bytes(private)
    of_key = bytes.fromhex(name(key.public_key().public_bytes_raw()))
    head = HEAD.pack(VERSION, of_key, held.number, held.serial, held.digest)
    said = head + held.run.encode()
    return b32encode(said + key.sign(said)).decode().rstrip("=")


def read(text: str, keys: Mapping[str, bytes]) -> Pass:
    """What a pass says, if one of the keys has signed it, each letter of it; else BadPass."""
    said = _bytes(text)
    signed, signature = said[:-SIGNATURE], said[-SIGNATURE:]
    if len(signed) <= HEAD.size or signed[0] != VERSION:
        raise BadPass(why="it is of another form")
    _, of_key, number, serial, of_secret = HEAD.unpack_from(signed)
    public = keys.get(of_key.hex())
    if public is None:
        raise BadPass(why="its key is not published, or not any more")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature:
        raise BadPass(why="its signature is not good") from None
    return Pass(signed[HEAD.size :].decode(), number, serial, of_secret)


def _bytes(text: str) -> bytes:
    """The bytes beneath the text, of which there is exactly one form."""
    try:
        said = b32decode(text + "=" * (-len(text) % 8))
    except ValueError:  # of letters that are none of ours, or too few
        raise BadPass(why="it is of another form") from None
    if b32encode(said).decode().rstrip("=") != text:
        raise BadPass(why="it is of another form")
    return said


def qr(text: str) -> str:
    """The pass as a QR code, as SVG to be put into a page."""
    return segno.make_qr(text, error="m").svg_inline(border=4, light="#fff", omitsize=True)


def name(public: bytes) -> str:
    """A key's id: the beginning of its digest, so that nobody has to give it one."""
    return sha256(public).hexdigest()[:8]

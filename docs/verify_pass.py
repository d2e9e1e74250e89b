# ruff: noqa: INP001, T201
"""Verify a ticket's pass without the net and with nothing of Takings, as decisions/passes.md tells.

    python verify_pass.py PASS keys.json [door.json]

keys.json is what GET /v1/door_keys answered, door.json what GET /v1/spaces/…/door did.  It needs
cryptography, prints whose pass it is, and exits with 1 at one that opens no door.
"""

import json
import struct
import sys
from base64 import b32decode, b32encode
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def verify(text: str, keys: str) -> tuple[str, int, int, str]:  # noqa: D103
    try:
        said = b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        sys.exit("no pass: not base 32")
    if b32encode(said).decode().rstrip("=") != text or len(said) < 86 or said[0] != 1:  # noqa: PLR2004
        sys.exit("no pass: of another form")
    _, key, number, serial, digest = struct.unpack_from(">B4sII8s", said)
    public = {one["id"]: one["public"] for one in json.loads(keys)["data"]}.get(key.hex())
    if public is None:
        sys.exit("no pass: its key is not published")
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(said[-64:], said[:-64])
    except InvalidSignature:
        sys.exit("no pass: its signature is not good")
    return said[21:-64].decode(), number, serial, digest.hex()


def listed(run: str, number: int, serial: int, digest: str, door: str) -> str:  # noqa: D103
    for one in json.loads(door)["data"]:
        if (one["run"], one["number"]) == (run, number):
            if (one["serial"], one["digest"]) != (serial, digest):
                sys.exit(f"ticket {number} of {run}: passed on since")
            if one["admitted_at"] is not None:
                sys.exit(f"ticket {number} of {run}: admitted before")
            return f", {one['holder'] or one['listener']}"
    sys.exit(f"ticket {number} of {run}: not valid, or of another Space")


held = verify(sys.argv[1], Path(sys.argv[2]).read_text())
whose = listed(*held, Path(sys.argv[3]).read_text()) if sys.argv[3:] else ""
print(f"ticket {held[1]} of {held[0]}{whose}")

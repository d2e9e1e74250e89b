"""Faults on demand: what goes wrong with a call, and what goes wrong with a delivery."""

import re
from collections import Counter
from dataclasses import dataclass, fields
from random import Random
from typing import Any

from sandbox.errors import StripeError

KINDS = (
    "409",
    "429",
    "500",
    "503",
    "balance_insufficient",
    "latency",
    "timeout_with_effect",
    "timeout_without_effect",
)


@dataclass
class CallFault:
    """The next ``times`` calls that match go wrong in one way, after ``latency`` seconds."""

    kind: str
    method: str = "POST"
    path: str = ".*"  # a regular expression, searched in the path
    times: int = 1
    latency: float = 0.0

    def strikes(self, method: str, path: str) -> bool:
        """Whether it is this call's turn."""
        return (
            self.times > 0
            and self.method in {method, "*"}
            and re.search(self.path, path) is not None
        )


@dataclass
class DeliveryFaults:
    """How often deliveries go wrong: each a probability from 0 to 1.

    ``types`` limits them to some event types, ``times`` to that many faults.
    """

    duplicate: float = 0.0  # delivered twice
    twin: float = 0.0  # one change, told by two event objects
    reorder: float = 0.0  # overtaken by later ones
    delay: float = 0.0  # late by delay_seconds
    drop: float = 0.0  # never delivered
    stale: float = 0.0  # written in an older API version
    delay_seconds: float = 0.5
    types: list[str] | None = None
    times: int | None = None


class Faults:
    """The faults in force; the same seed and the same traffic give the same faults."""

    def __init__(self, seed: int = 0) -> None:
        self.calls: list[CallFault] = []
        self.delivery = DeliveryFaults()
        self.struck: Counter[str] = Counter()  # how often each delivery fault has happened
        self._chance = Random(f"faults:{seed}")  # noqa: S311  it has to replay, not to be secret

    def call(
        self,
        kind: str,
        path: str = ".*",
        *,
        method: str = "POST",
        times: int = 1,
        latency: float = 0.0,
    ) -> None:
        """The next calls that match go wrong."""
        if kind not in KINDS:
            raise StripeError(f"Unknown fault: {kind}; there are {', '.join(KINDS)}", param="kind")
        self.calls.append(CallFault(kind, method, path, times, latency))

    def deliveries(self, **rates: Any) -> None:
        """Deliveries go wrong at these rates from now on; what is not named is 0."""
        unknown = rates.keys() - {field.name for field in fields(DeliveryFaults)}
        if unknown:
            raise StripeError(f"Unknown fault: {', '.join(sorted(unknown))}")
        self.delivery = DeliveryFaults(**rates)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.calls.clear()
        self.delivery = DeliveryFaults()

    def take(self, method: str, path: str) -> CallFault | None:
        """The fault that this call meets, used up once."""
        for fault in self.calls:
            if fault.strikes(method, path):
                fault.times -= 1
                return fault
        return None

    def happens(self, fault: str, event_type: str) -> bool:
        """Whether that delivery fault hits this event: drawn anew for every event."""
        rate = getattr(self.delivery, fault)
        struck = self._chance.random() < rate
        allowed = self.delivery.types is None or event_type in self.delivery.types
        if not (struck and allowed) or self.delivery.times == 0:
            return False
        if self.delivery.times is not None:
            self.delivery.times -= 1
        self.struck[fault] += 1
        return True

    def jitter(self) -> float:
        """Seconds by which a reordered delivery is late."""
        return self._chance.uniform(0, self.delivery.delay_seconds)

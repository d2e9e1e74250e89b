"""Lines: what a payment pays for, with the shares and the policy that were frozen into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.policies import policies
from takings.policies.rules import Policy


@dataclass(frozen=True, slots=True)
class Line:
    """One tip or ticket of a payment; ``shares`` are (host, weight) in the agreement's order.

    ``parked`` says for how many days the share of a payee waits who cannot be paid yet.
    """

    id: str
    payment: str
    kind: str
    subject: str
    currency: str
    minor: int
    fees_covered: int
    policy: Policy
    shares: tuple[tuple[str, int], ...]
    parked: Mapping[str, int] = field(default_factory=dict)


OF_PAYMENTS = """
SELECT l.id, l.payment_id, l.kind, l.subject, l.currency, l.minor, l.fees_covered,
       l.policy, l.policy_version, s.hosts, s.weights, s.waits
  FROM lines l
 CROSS JOIN LATERAL (
       SELECT array_agg(s.host_id ORDER BY s.position) AS hosts,
              array_agg(s.weight ORDER BY s.position) AS weights,
              array_agg(CASE WHEN h.capability <> 'active' THEN s.claim_days END
                        ORDER BY s.position) AS waits
         FROM shares s LEFT JOIN hosts h ON h.id = s.host_id AND s.claim_days IS NOT NULL
        WHERE s.space_id = l.space_id AND s.version = l.agreement_version
          AND (l.on_stage IS NULL OR s.position = ANY(l.on_stage))) AS s
 WHERE l.payment_id = ANY($1::text[])
 ORDER BY l.payment_id, l.id
"""


async def of(session: AsyncSession, payments: Sequence[str]) -> list[Line]:
    """The lines of these payments, by payment and line."""
    rows = await fetch(session, OF_PAYMENTS, list(payments))
    rules = {
        version: await policies.get(session, *version)
        for version in {(row.policy, row.policy_version) for row in rows}
    }
    return [
        Line(
            id=row.id,
            payment=row.payment_id,
            kind=row.kind,
            subject=row.subject,
            currency=row.currency,
            minor=row.minor,
            fees_covered=row.fees_covered,
            policy=rules[row.policy, row.policy_version],
            shares=tuple(zip(row.hosts, row.weights, strict=True)),
            parked={host: days for host, days in zip(row.hosts, row.waits, strict=True) if days},
        )
        for row in rows
    ]

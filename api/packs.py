"""Packs: all that speaks for a disputed payment, as papers to be sent to the bank.

They say what was sold and when, that it was delivered, on which terms, and what has gone back
since.  Nothing is in them that is not in our tables: no card, and a name only where one was given.
"""

from collections.abc import Sequence
from typing import Any

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import archives
from takings.money import Money
from takings.payments import disputes, payments, receipts, tables
from takings.payments.dispute_tables import Dispute
from takings.payments.receipts import Receipt
from takings.policies import policies
from takings.spaces.tables import Host, Space
from ticketing.door_tables import Admission
from ticketing.sale_tables import Ticket
from ticketing.tables import Run, Tier
from tipping.tables import Tip

Facts = dict[str, Any]
Lines = Sequence[tables.Line]


async def of(session: AsyncSession, dispute_id: str) -> bytes:
    """The pack of a dispute, as a ZIP; raises NotFound."""
    dispute = await disputes.get(session, dispute_id)
    payment = await payments.get(session, dispute.payment_id)
    line = tables.Line
    wanted = select(line).where(line.payment_id == payment.id).order_by(col(line.id))
    lines = (await session.exec(wanted)).all()
    papers: Facts = {
        "summary": _summary(dispute, payment, lines),
        "receipt": _receipt(await receipts.of(session, payment.id)),
        "spaces": await _spaces(session, lines),
        "admissions": await _admissions(session, lines),
        "messages": await _messages(session, lines),
        "terms": await _terms(session, lines),
        "refunds": await _refunds(session, payment.id),
    }
    heads = {"dispute": dispute.id, "payment": payment.id}
    return archives.zipped({name: {**heads, name: said} for name, said in papers.items()})


def _summary(dispute: Dispute, payment: tables.Payment, lines: Lines) -> Facts:
    return {
        "kind": dispute.kind,
        "status": dispute.status,
        "reason": dispute.reason,
        **_amounts(dispute.currency, amount=dispute.minor, taken=dispute.taken),
        "opened_at": dispute.created_at,
        "evidence_due_by": dispute.due_by,
        "closed_at": dispute.closed_at,
        "paid_by": {
            "listener": payment.listener_id,
            "amount": Money(payment.minor, payment.currency),
            "ordered_at": payment.created_at,
            "paid_at": payment.paid_at,
            "surface": payment.surface,
            "payment_intent": payment.intent_id,
            "charge": payment.charge_id,
        },
        "paid_for": [_lies_on(line) for line in lines],
    }


def _lies_on(line: tables.Line) -> Facts:
    paid = line.minor + line.fees_covered
    parts = {"returned": line.returned, "disputed": line.disputed, "frozen": line.frozen}
    return {line.kind: line.subject, **_amounts(line.currency, paid=paid, **parts)}


def _amounts(currency: str, **minors: int) -> Facts:
    return {name: Money(minor, currency) for name, minor in minors.items()}


def _receipt(receipt: Receipt) -> Facts:
    """What was paid, and for what; what we returned of it stands among the refunds.

    The receipt itself counts what the bank took as returned, too: to the listener it is.
    """
    return {
        "listener": receipt.listener,
        "paid_at": receipt.paid_at,
        "paid": receipt.paid,
        "fees_covered": receipt.fees_covered,
        "lines": [
            {
                line.kind: line.subject,
                "space": line.space,
                "amount": line.amount,
                "fees_covered": line.fees_covered,
                "platform": line.commission,
                "hosts": [{"host": share.host, "got": share.net} for share in line.shares],
            }
            for line in receipt.lines
        ],
    }


async def _spaces(session: AsyncSession, lines: Lines) -> list[Facts]:
    """Where it was: that each Space took place, from when to when."""
    ids = {line.space_id for line in lines}
    wanted = select(Space, Host.name).where(col(Space.id).in_(ids), Host.id == Space.host_id)
    return [
        {
            "space": space.id,
            "title": space.title,
            "host": host,
            "state": space.state,
            "announced_for": space.starts_at,
            "live_from": space.live_at,
            "live_to": space.ended_at,
        }
        for space, host in await session.exec(wanted.order_by(col(Space.id)))
    ]


async def _admissions(session: AsyncSession, lines: Lines) -> list[Facts]:
    """That it was used: when each ticket was admitted, and at which door."""
    ids = _subjects(lines, "ticket")
    wanted = (
        select(Ticket, Tier.name, Run.space_id, Admission)
        .join(Tier, col(Tier.id) == Ticket.tier_id)
        .join(Run, col(Run.id) == Ticket.run_id)
        .outerjoin(Admission, col(Admission.ticket_id) == Ticket.id)
        .where(col(Ticket.id).in_(ids))
        .order_by(col(Ticket.run_id), col(Ticket.number), col(Ticket.id))
    )
    return [
        {
            "ticket": ticket.id,
            "space": space,
            "number": ticket.number,
            "tier": tier,
            "listener": ticket.listener_id,
            "name": ticket.holder,
            "state": ticket.state,
            "issued_at": ticket.issued_at,
            "admitted_at": admission.happened_at if admission else None,
            "door": admission.door if admission else None,
            "place": admission.place if admission else None,
        }
        for ticket, tier, space, admission in await session.exec(wanted)
    ]


async def _messages(session: AsyncSession, lines: Lines) -> list[Facts]:
    """That it was meant: what the listener wrote with each tip, and when."""
    ids = _subjects(lines, "tip")
    wanted = select(Tip).where(col(Tip.id).in_(ids)).order_by(col(Tip.created_at), col(Tip.id))
    return [
        {
            "tip": tip.id,
            "space": tip.space_id,
            "amount": Money(tip.minor, tip.currency),
            "sent_at": tip.created_at,
            "message": tip.message,
            "anonymous": tip.anonymous,
        }
        for tip in await session.exec(wanted)
    ]


def _subjects(lines: Lines, kind: str) -> list[str]:
    return [line.subject for line in lines if line.kind == kind]


async def _terms(session: AsyncSession, lines: Lines) -> list[Facts]:
    """On which terms it was sold: of each Space, policy and version once."""
    tickets = col(Ticket.id).in_(_subjects(lines, "ticket"))
    runs = select(Ticket.id, Run.refund_until_h).where(tickets, Run.id == Ticket.run_id)
    hours = dict((await session.exec(runs)).all())
    found: dict[tuple[object, ...], Facts] = {}
    for line in lines:
        policy = await policies.get(session, line.policy, line.policy_version)
        facts = {
            "space": line.space_id,
            "sold": line.kind,
            "agreement_version": line.agreement_version,
            "policy": policy.name,
            "policy_version": policy.version,
            "refund_window_days": policy.refund_window_days,
            "card_fee_borne_by": policy.fee_bearer,
            "card_fee_of_a_refund_borne_by": policy.refund_fee_bearer,
        }
        if line.kind == "ticket":  # none: its run lets nobody give one back by wish
            facts["given_back_until_hours_before"] = hours[line.subject]
        found[tuple(facts.values())] = facts
    return list(found.values())


async def _refunds(session: AsyncSession, payment_id: str) -> list[Facts]:
    """What was refunded, by whomever, or was to be."""
    table = tables.Refund
    wanted = select(table).where(table.payment_id == payment_id)
    return [
        {
            "refund": refund.id,
            "amount": Money(refund.minor, refund.currency),
            "state": refund.state,
            "reason": refund.reason,
            "asked_at": refund.created_at,
            "booked_at": refund.booked_at,
            "stripe_refund": refund.stripe_id,
        }
        for refund in await session.exec(wanted.order_by(col(table.created_at), col(table.id)))
    ]

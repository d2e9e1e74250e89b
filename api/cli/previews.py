"""Previews: what would each get of a tip or a ticket."""

from typing import Annotated, Literal

import typer

from api.cli import loop, output
from api.cli.output import AsJson
from api.schemas import previews as schemas
from takings import money
from takings.errors import Invalid
from takings.money import Money
from takings.payments import previews
from takings.payments.previews import Offer, Preview, Question
from takings.policies.rules import STANDARD, Channel
from takings.spaces.agreements import Share


class NotPairs(Invalid):
    """{text!r} is not a list of payees with a {what} each.

    Write it as {example}: a name, a colon, a {what}, and a comma before the next.
    """


Shares = Annotated[
    str | None, typer.Option(help="who would share, in basis points: ada:6000,bob:4000")
]
Earned = Annotated[
    str | None, typer.Option(help="what they would have earned before: ada:49994.00")
]


@loop.awaited
async def preview(
    price: Annotated[str, typer.Argument(help="of one, such as 10.00")],
    currency: Annotated[str, typer.Argument(help="such as eur")],
    *,
    space: Annotated[str | None, typer.Option(help="as in this Space")] = None,
    policy: Annotated[str | None, typer.Option(help="by these rules; a Space has its own")] = None,
    shares: Shares = None,
    earned: Earned = None,
    kind: Annotated[Literal["tip", "ticket"], typer.Option()] = "tip",
    size: Annotated[int, typer.Option(help="so many, each paid by itself")] = 1,
    channel: Annotated[Channel, typer.Option(help="through which it is sold")] = "web",
    region: Annotated[str, typer.Option(help="of the card, as the policy names it")] = STANDARD,
    json: AsJson = False,
) -> None:
    """What would each get of a tip or a ticket, or of many: what would be booked, to the cent."""
    question = Question(
        offer=Offer(kind, money.parse(price, currency), size, channel, region),
        space=space,
        policy=policy,
        shares=tuple(Share(host, _weight(text)) for host, text in _pairs(shares, *WEIGHTS)),
        counters={host: money.parse(text, currency).minor for host, text in _pairs(earned, *SUMS)},
    )
    async with loop.running() as runtime:
        found = await runtime.database.run(previews.ask, question)
    if json:
        output.as_json(schemas.Preview.of(found).model_dump())
    else:
        _show(found)


WEIGHTS = ("weight", "ada:6000,bob:4000")
SUMS = ("sum", "ada:49994.00,bob:0.00")


def _pairs(text: str | None, what: str, example: str) -> list[tuple[str, str]]:
    """The names in such a list, each with what stands behind its colon."""
    pairs = [part.strip().rpartition(":") for part in text.split(",")] if text else []
    if not all(host and value for host, _, value in pairs):
        raise NotPairs(text=text, what=what, example=example)
    return [(host, value) for host, _, value in pairs]


def _weight(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise NotPairs(text=text, what=WEIGHTS[0], example=WEIGHTS[1])
    return int(text)


ROWS = {
    "charged": "the listener pays",
    "store_fee": "the store keeps",
    "card_fee": "Stripe keeps, about",
    "fees_covered": "of it the listener covers",
    "commission": "commission",
    "platform": "the platform is left with",
}


def _show(found: Preview) -> None:
    offer, policy = found.offer, found.policy
    what = f"{offer.size} × {offer.kind} at {money.format(offer.price)}"
    title = f"{what} · {policy.name} {policy.version} · {offer.channel}, {offer.card_region} card"
    output.console.print(title, style="bold", markup=False)
    sums = output.table("", "", "the first", "in total", right=("the first", "in total"))
    for name, said in ROWS.items():
        row = (getattr(found.first, name), getattr(found.total, name))
        if any(row) or name in ("charged", "platform"):
            sums.add_row(said, *map(money.format, row))
    output.console.print(sums)

    amounts = ("gross", "commission", "card fee", "net", "net in total")
    columns = ("share", "earned before", *amounts)
    payees = output.table("", "payee", *columns, right=columns)
    for payee in found.payees:
        part = payee.first
        one = (payee.counter, part.gross, part.commission, part.card_fee, part.net)
        percent = f"{payee.weight // 100}.{payee.weight % 100:02} %"
        payees.add_row(payee.host, percent, *map(money.format, (*one, payee.total.net)))
    output.console.print(payees)
    for payee in found.payees:
        for crossing in payee.crossings:
            beyond = money.format(crossing.up_to)
            rest: Money = payee.first.gross - crossing.below
            output.console.print(
                f"{payee.host} passes {beyond} with number {crossing.sale}: of that one "
                f"{money.format(rest)} pays the next rate.",
                markup=False,
            )

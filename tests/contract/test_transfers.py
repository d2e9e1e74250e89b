"""Money reaches a connected account only when it may, and comes back only if it is there."""

import pytest
import stripe

from sandbox import Sandbox
from tests.contract.conftest import RECIPIENT, Pay

USE = {
    "type": "account_onboarding",
    "account_onboarding": {"refresh_url": "https://example.com/again"},
}


async def test_an_account_is_sent_money_once_its_papers_are_in(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    await pay(10_000, method="pm_card_bypassPending")
    account = await client.v2.core.accounts.create_async(RECIPIENT)
    transfers = account.configuration.recipient.capabilities.stripe_balance.stripe_transfers
    assert transfers.status == "restricted"
    wish = {"amount": 4_825, "currency": "eur", "destination": account.id, "transfer_group": "p1"}
    with pytest.raises(stripe.InvalidRequestError) as early:
        await client.v1.transfers.create_async(wish)
    assert early.value.code == "insufficient_capabilities_for_transfer"
    box.capability(account.id, "active")
    transfer = await client.v1.transfers.create_async(
        {**wish, "expand": ["balance_transaction", "destination_payment"]}
    )
    assert (transfer.balance_transaction.net, transfer.balance_transaction.type) == (
        -4_825,
        "transfer",
    )
    assert transfer.destination_payment.source_transfer == transfer.id
    assert box.balance("eur", account.id) == {"available": 4_825, "pending": 0}
    found = await client.v1.transfers.list_async({"transfer_group": "p1"})
    assert [t.id for t in found.data] == [transfer.id]


async def test_only_available_funds_move_unless_a_charge_is_the_source(
    client: stripe.StripeClient, box: Sandbox, pay: Pay, host: str
) -> None:
    intent = await pay(10_000)
    wish = {"amount": 6_000, "currency": "eur", "destination": host}
    with pytest.raises(stripe.InvalidRequestError) as short:
        await client.v1.transfers.create_async(wish)
    assert short.value.code == "balance_insufficient"
    tied = {**wish, "source_transaction": intent.latest_charge.id}
    transfer = await client.v1.transfers.create_async(tied)
    assert transfer.transfer_group == f"group_{intent.id}"
    assert box.balance("eur", host) == {"available": 0, "pending": 6_000}
    with pytest.raises(stripe.InvalidRequestError) as too_much:
        await client.v1.transfers.create_async({**tied, "amount": 4_001})
    assert "must not exceed" in str(too_much.value)
    box.advance(4 * 86_400)
    assert box.balance("eur", host) == {"available": 6_000, "pending": 0}
    with pytest.raises(stripe.InvalidRequestError) as nobody:
        await client.v1.transfers.create_async({**wish, "destination": "acct_invalid"})
    assert (nobody.value.code, nobody.value.param) == ("resource_missing", "destination")


async def test_a_reversal_is_refused_when_the_account_is_short(
    client: stripe.StripeClient, box: Sandbox, pay: Pay, host: str
) -> None:
    await pay(10_000, method="pm_card_bypassPending")
    transfer = await client.v1.transfers.create_async(
        {"amount": 5_000, "currency": "eur", "destination": host}
    )
    reverse = client.v1.transfers.reversals.create_async
    part = await reverse(transfer.id, {"amount": 191, "expand": ["balance_transaction"]})
    assert (part.balance_transaction.amount, part.balance_transaction.reporting_category) == (
        191,
        "transfer_reversal",
    )
    told = [e for e in box.events if e["type"] == "transfer.reversed"][-1]["data"]["object"]
    assert (told["reversed"], told["amount_reversed"]) == (False, 191)
    box.host_payout(host, "eur")
    with pytest.raises(stripe.InvalidRequestError) as short:
        await reverse(transfer.id)
    assert short.value.code == "balance_insufficient"
    assert [
        r.amount for r in (await client.v1.transfers.reversals.list_async(transfer.id)).data
    ] == [191]


async def test_a_hosts_own_payout_is_told_with_its_account(
    client: stripe.StripeClient, box: Sandbox, pay: Pay, host: str
) -> None:
    await pay(10_000, method="pm_card_bypassPending")
    await client.v1.transfers.create_async(
        {"amount": 5_000, "currency": "eur", "destination": host}
    )
    payout = box.host_payout(host, "eur")
    box.advance(3 * 86_400)
    told = [e for e in box.events if e["type"].startswith("payout")]
    assert {event["account"] for event in told} == {host}
    assert told[-1]["type"] == "payout.reconciliation_completed"
    options = {"stripe_account": host}
    seen = await client.v1.payouts.retrieve_async(payout["id"], None, options)
    assert (seen.status, seen.automatic) == ("paid", True)
    assert not (await client.v1.payouts.list_async()).data
    theirs = await client.v1.balance_transactions.list_async(None, options)
    assert [line.net for line in theirs.data] == [-5_000, 5_000]


async def test_a_closed_account_is_still_shown_and_can_do_nothing(
    client: stripe.StripeClient, box: Sandbox, host: str
) -> None:
    closed = await client.v2.core.accounts.close_async(host)
    assert closed.closed
    assert (await client.v2.core.accounts.retrieve_async(host)).closed
    assert box.notifications[-1]["type"] == "v2.core.account.closed"
    assert (await client.v2.core.accounts.list_async()).data == []
    with pytest.raises(stripe.InvalidRequestError):
        await client.v2.core.account_links.create_async({"account": host, "use_case": USE})
    with pytest.raises(stripe.InvalidRequestError) as gone:
        await client.v1.transfers.create_async(
            {"amount": 1, "currency": "eur", "destination": host}
        )
    assert gone.value.code == "insufficient_capabilities_for_transfer"


async def test_an_account_whose_owner_has_left_is_not_shown_any_more(
    client: stripe.StripeClient, box: Sandbox, host: str
) -> None:
    box.deauthorize(host)
    event = box.events[-1]
    assert (event["type"], event["account"]) == ("account.application.deauthorized", host)
    with pytest.raises(stripe.PermissionError) as refused:
        await client.v2.core.accounts.retrieve_async(host)
    assert refused.value.error is not None
    assert refused.value.error.code == "account_invalid"
    with pytest.raises(stripe.PermissionError):
        await client.v1.payouts.list_async(None, {"stripe_account": host})
    assert (await client.v2.core.accounts.list_async()).data == []


async def test_a_recipient_has_an_address_to_write_to(client: stripe.StripeClient) -> None:
    nameless = {name: part for name, part in RECIPIENT.items() if name != "contact_email"}
    with pytest.raises(stripe.InvalidRequestError, match="contact_email"):
        await client.v2.core.accounts.create_async(nameless)


async def test_large_parts_of_an_account_are_null_until_they_are_asked_for(
    client: stripe.StripeClient, box: Sandbox, host: str
) -> None:
    plain = await client.v2.core.accounts.retrieve_async(host)
    assert plain.configuration is None
    asked = await client.v2.core.accounts.retrieve_async(
        host, {"include": ["configuration.recipient"]}
    )
    capabilities = asked.configuration.recipient.capabilities
    assert capabilities.stripe_balance.stripe_transfers.status == "active"
    types = [notification["type"] for notification in box.notifications]
    assert types == [
        "v2.core.account.created",
        "v2.core.account[configuration.recipient].capability_status_updated",
        "v2.core.account[requirements].updated",
    ]

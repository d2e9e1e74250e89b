"""The evidence for a dispute: a ZIP of all that speaks for the payment; the same, byte for byte."""

import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from api import archives, keys
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import refunds
from takings.spaces import spaces
from tests import box_office, stories
from ticketing import admissions, door_keys
from ticketing.admissions import AdmissionWish
from tipping import tips
from tipping.tips import Wish

PAPERS = ("admissions", "messages", "receipt", "refunds", "spaces", "summary", "terms")


async def evidence(client: httpx.AsyncClient, dispute: str) -> dict[str, str]:
    """Every file of the pack, as text."""
    answer = await client.get(f"/v1/disputes/{dispute}/evidence")
    assert answer.is_success, answer.text
    assert answer.headers["content-type"] == "application/zip"
    named = f'attachment; filename="dispute-{dispute}.zip"'
    assert answer.headers["content-disposition"] == named
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def paper(files: dict[str, str], name: str) -> Any:
    """What a paper says, for programs."""
    return json.loads(files[f"{name}.json"])[name]


async def test_a_ticket_that_was_used_is_shown_with_its_door_and_terms(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    now = runtime.now()
    run = await box_office.planned(runtime, refund_until_h=24)
    made = await box_office.bought(runtime, box, "zoe", quantity=2)
    await spaces.move(runtime.database, "spc_one", "live", now=now)
    came, stayed = sorted(made.tickets, key=lambda ticket: ticket.number or 0)
    shown = await runtime.database.run(door_keys.sign, came.id, now=now)
    wish = AdmissionWish("adm_one", shown, "spc_one", "north-2", "Main hall")
    await admissions.admit(runtime.database, wish, now=now)
    assert made.payment is not None
    found = box.dispute(payment_intent=made.payment.intent_id, reason="product_not_received")
    await stories.hear(runtime, box)
    files = await evidence(client, found["id"])
    assert sorted(files) == sorted(f"{name}.{kind}" for name in PAPERS for kind in ("json", "txt"))
    first, second = paper(files, "admissions")
    assert (first["ticket"], first["door"], first["place"]) == (came.id, "north-2", "Main hall")
    assert (second["ticket"], second["admitted_at"]) == (stayed.id, None)
    assert f"admitted at: {now:%Y-%m-%d %H:%M:%S} UTC" in files["admissions.txt"]
    assert "door: north-2" in files["admissions.txt"]
    [terms] = paper(files, "terms")
    assert (terms["policy"], terms["given_back_until_hours_before"]) == ("house", 24)
    assert terms["agreement_version"] == 1
    [space] = paper(files, "spaces")
    assert (space["title"], space["host"], space["live_to"]) == ("A talk", "Ada", None)
    assert paper(files, "messages") == paper(files, "refunds") == []
    assert run == "run_one"


async def test_a_tip_is_shown_with_its_message_its_refund_and_where_it_went(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    said = "Bravo!\nstatus: won"
    wish = Wish("tip_one", "spc_one", "lis_zoe", Money(500, "eur"), "intent", message=said)
    sent = await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())
    box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    told = (runtime.database, runtime.stripe, "ref_one", sent.payment.id, Money(100, "eur"))
    await refunds.refund(*told, reason="the sound broke off", now=runtime.now())
    await stories.end(runtime, box)
    found = box.dispute(payment_intent=sent.payment.intent_id)
    box.close_dispute(found["id"], "lost")
    await stories.hear(runtime, box)
    files = await evidence(client, found["id"])
    assert files["messages.txt"] == await _messages(runtime, found["id"], sent.payment.id)
    [refund] = paper(files, "refunds")
    assert (refund["refund"], refund["reason"]) == ("ref_one", "the sound broke off")
    assert refund["amount"] == {"amount": 100, "currency": "eur"}
    receipt = paper(files, "receipt")
    assert receipt["paid"]["amount"] == 546
    assert "returned" not in receipt  # to a bank that would say that we gave it back
    ada = {"host": "host_ada", "got": {"amount": 300, "currency": "eur"}}
    assert receipt["lines"][0]["hosts"][0] == ada
    summary = paper(files, "summary")
    assert (summary["status"], summary["taken"]["amount"]) == ("lost", 446)
    assert summary["paid_for"][0]["disputed"]["amount"] == 446
    assert summary["paid_by"]["payment_intent"] == sent.payment.intent_id
    assert "taken: €4.46" in files["summary.txt"]
    [space] = paper(files, "spaces")
    assert space["live_to"] is not None
    assert paper(files, "admissions") == []


async def _messages(runtime: Runtime, dispute: str, payment: str) -> str:
    sent = (await tips.get(runtime.database, "tip_one")).tip.created_at
    return f"""\
dispute: {dispute}
payment: {payment}
messages:
  - tip: tip_one
    space: spc_one
    amount: €5.00
    sent at: {sent:%Y-%m-%d %H:%M:%S} UTC
    message: Bravo!
        status: won
    anonymous: no
"""


async def test_the_same_evidence_is_the_same_bytes_and_only_finance_may_have_it(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id)
    await stories.hear(runtime, box)
    path = f"/v1/disputes/{found['id']}/evidence"
    first, second = [(await client.get(path)).content for _ in range(2)]
    assert first == second
    box.close_dispute(found["id"], "won")
    await stories.hear(runtime, box)
    assert (await client.get(path)).content != first, "it is another one now"
    _, secret = await keys.issue(runtime.database, "box", scopes=("tips",), now=runtime.now())
    headers = {"Authorization": f"Bearer {secret}"}
    refused = await client.get(path, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (await client.get(f"/v1/disputes/{found['id']}", headers=headers)).is_success


async def test_a_charge_that_failed_after_all_has_a_pack_as_well(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    box.pay(sent.payment.intent_id, payment_method="pm_sandbox_failsAfterSuccess")
    await stories.hear(runtime, box)
    box.advance(5 * 86_400)
    await stories.hear(runtime, box)
    [found] = (await client.get("/v1/disputes")).json()["data"]
    assert (found["kind"], found["taken"], found["due_by"]) == ("charge_failure", 546, None)
    assert paper(await evidence(client, found["id"]), "summary")["kind"] == "charge_failure"


def test_a_paper_says_what_stands_below_what_further_in() -> None:
    paper = {
        "a_sum": Money(5, "jpy"),
        "none": None,
        "some": [],
        "of": {},
        "two": [{"b": 1, "c": True}],
    }
    assert (
        archives.text(paper) == "a sum: ¥5\nnone: –\nsome: –\nof: –\ntwo:\n  - b: 1\n    c: yes\n"
    )


def test_what_a_paper_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        archives.zipped({"a": object()})

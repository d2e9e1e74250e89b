"""The test clock: it goes ahead beside the sandbox alone, for all processes at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from api import serving
from api.runtime import Runtime
from api.settings import sealed
from sandbox.control import Sandbox
from tests import stories
from tests.conftest import SECRET

BESIDE = {"stripe_api_base": "http://127.0.0.1:12111", "stripe_api_key": "sk_test_takings"}
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A clock that goes a month ahead."""
    path = tmp_path / "clock"
    path.write_text(f"{MONTH.total_seconds():.0f}\n")
    return path


@pytest.fixture
def ahead(runtime: Runtime, clock: Path) -> Runtime:
    """A runtime with that clock."""
    settings = runtime.settings.model_copy(update={"test_clock": clock})
    return replace(runtime, settings=settings)


def test_it_is_as_late_as_the_file_says_whenever_one_looks(ahead: Runtime, clock: Path) -> None:
    stopped = replace(ahead, clock=lambda: NOON)
    assert stopped.now() == NOON + MONTH
    clock.write_text("60")
    assert stopped.now() == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    "told",
    [
        {"stripe_api_key": "sk_live_takings"},
        {"stripe_api_key": "rk_live_takings"},
        {"stripe_api_key": ""},
        {"stripe_api_base": None},
        {"test_clock": "/no/such/file"},
    ],
)
def test_time_moves_only_beside_the_sandbox_with_a_test_key(
    clock: Path, told: dict[str, str | None]
) -> None:
    assert sealed(**BESIDE, test_clock=clock).test_clock == clock
    with pytest.raises(ValidationError, match="test_clock"):
        sealed(**BESIDE | {"test_clock": clock} | told)


async def test_what_stripe_signs_is_as_old_as_the_real_clock_says(
    ahead: Runtime, box: Sandbox
) -> None:
    async with serving.listening(ahead, "127.0.0.1", 0) as url, httpx.AsyncClient() as client:
        box.webhook(f"{url}/webhooks/stripe", SECRET)
        box.advance(int(MONTH.total_seconds()))
        await stories.room(ahead.database, ahead.now())
        sent = await stories.tip(ahead, 500)
        box.pay(sent.payment.intent_id)
        assert (await box.deliver())["failed"] == 0
        signed = box.sign(b"{}", SECRET, box.now)
        told = {"Stripe-Signature": signed}
        answer = await client.post(f"{url}/webhooks/stripe", content=b"{}", headers=told)
        assert answer.status_code == 400
        assert "in the future" in answer.text

"""One account in two shapes: v2 shows what was asked for, v1 what it always showed."""

from sandbox.state import iso
from sandbox.tables import Row

ON_REQUEST = ("configuration", "defaults", "future_requirements", "identity", "requirements")


def shown(account: Row, include: list[str]) -> Row:
    """The account as v2 shows it: large parts are null unless ``include`` names them."""
    asked = {part.split(".")[0] for part in include}
    full = {
        "configuration": {
            "customer": None,
            "merchant": None,
            "recipient": _recipient(account) if "configuration.recipient" in include else None,
        },
        "defaults": {
            "currency": account["currency"],
            "locales": None,
            "payout_methods": None,
            "profile": None,
            "responsibilities": {
                "fees_collector": "application",
                "losses_collector": "application",
                "requirements_collector": "stripe",
            },
        },
        "future_requirements": None,
        "identity": {
            "attestations": None,
            "business_details": None,
            "country": account["country"],
            "entity_type": None,
            "individual": None,
        },
        "requirements": {"alternatives": None, "entries": _entries(account), "summary": None},
    }
    plain = (
        "applied_configurations",
        "closed",
        "contact_email",
        "contact_phone",
        "dashboard",
        "display_name",
        "id",
        "livemode",
        "metadata",
    )
    return {
        **{name: account[name] for name in plain},
        **{name: full[name] if name in asked else None for name in ON_REQUEST},
        "created": iso(account["created"]),
        "object": "v2.core.account",
    }


def _recipient(account: Row) -> Row:
    status, details = account["status"], []
    if status is None:
        return {"applied": True, "capabilities": None}
    if status != "active":
        details = [{"code": "requirements_past_due", "resolution": "provide_info"}]
    transfers = {"status": status, "status_details": details}
    balance = {"payouts": None, "stripe_transfers": transfers}
    return {
        "applied": True,
        "capabilities": {"bank_accounts": None, "cards": None, "stripe_balance": balance},
    }


def _entries(account: Row) -> list[Row]:
    if account["status"] in {"active", None}:
        return []
    return [
        {
            "awaiting_action_from": "user",
            "description": "identity.individual.verification",
            "errors": [],
            "impact": {"restricts_capabilities": None},
            "minimum_deadline": {"status": "currently_due"},
            "reference": None,
            "requested_reasons": [{"code": "routine_onboarding"}],
        }
    ]


def legacy(account: Row) -> Row:
    """The same account in v1's shape."""
    status = account["status"]
    active = "active" if status == "active" else "pending" if status == "pending" else "inactive"
    return {
        "id": account["id"],
        "object": "account",
        "business_type": None,
        "capabilities": {"transfers": active},
        "charges_enabled": False,
        "country": account["country"].upper(),
        "created": account["created"],
        "default_currency": account["currency"],
        "details_submitted": status == "active",
        "email": account["contact_email"],
        "metadata": account["metadata"],
        "payouts_enabled": status == "active",
        "type": "none",
    }

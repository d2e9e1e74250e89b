"""The rules that live-audio platforms really had, as policies ready to use, each with its source.

They are starting points: a platform copies one, changes what it likes, and gives it its own name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from takings.commission import FeeSchedule, Tier
from takings.policies.rules import Eligibility, Policy, Terms

# By currency, in minor units: Stripe's minimum charge (its documentation, "Supported currencies",
# "Minimum charge amount by currency"); about one dollar as a round sum; the fixed part of a card
# fee of 2.9 %.  The fees are of the usual order only: a platform puts its own contract's here.
_MARKETS: Final = {
    "aed": (200, 500, 100),
    "aud": (50, 100, 30),
    "brl": (50, 500, 40),
    "cad": (50, 100, 30),
    "chf": (50, 100, 30),
    "czk": (1500, 2000, 650),
    "dkk": (250, 1000, 180),
    "eur": (50, 100, 30),
    "gbp": (30, 100, 30),
    "hkd": (400, 1000, 235),
    "huf": (17500, 40000, 8500),
    "inr": (50, 10000, 2500),
    "jpy": (50, 100, 30),
    "mxn": (1000, 2000, 300),
    "myr": (200, 500, 100),
    "nok": (300, 1000, 200),
    "nzd": (50, 100, 30),
    "pln": (200, 500, 100),
    "ron": (200, 500, 100),
    "sek": (300, 1000, 180),
    "sgd": (50, 100, 50),
    "thb": (1000, 4000, 1000),
    "usd": (50, 100, 30),
}
_USD_FEE: Final = FeeSchedule(rate_bps=290, fixed=30)
_TWITTER_TIERS: Final = (Tier(up_to=50_000_00, rate_bps=300), Tier(up_to=None, rate_bps=2_000))

_ALL: Final = (
    Policy(
        name="clubhouse-2021",
        version=1,
        source="Clubhouse Payments, April 2021: the host gets all, the sender pays the card fee.",
        terms={
            currency: Terms(
                fee=FeeSchedule(rate_bps=290, fixed=fixed),
                minimum=minimum,
                maximum=500 * unit,
                suggested=(5 * unit, 10 * unit, 20 * unit),
            )
            for currency, (minimum, unit, fixed) in _MARKETS.items()
        },
        fee_bearer="listener",
        refund_fee_bearer="listener",
    ),
    Policy(
        name="twitter-ticketed-spaces-2021",
        version=1,
        source="Twitter Ticketed Spaces, August 2021: hosts keep 97 % after the store's fee, "
        "and 80 % once they have earned 50,000 USD in their lifetime.",
        terms={
            "usd": Terms(fee=_USD_FEE, minimum=1_00, maximum=999_00, tiers=_TWITTER_TIERS),
        },
        fee_bearer="platform",
        eligibility=Eligibility(
            followers_min=1_000, age_min=18, spaces_min=3, spaces_within_days=30
        ),
    ),
    Policy(
        name="twitter-super-follows-2021",
        version=1,
        source="Twitter Super Follows, September 2021: 2.99, 4.99 or 9.99 USD, on the same "
        "lifetime counter as Ticketed Spaces.",
        terms={
            "usd": Terms(
                fee=_USD_FEE,
                minimum=2_99,
                maximum=9_99,
                suggested=(2_99, 4_99, 9_99),
                tiers=_TWITTER_TIERS,
            ),
        },
        fee_bearer="platform",
        eligibility=Eligibility(followers_min=10_000),
    ),
    Policy(
        name="facebook-stars-2021",
        version=1,
        source="Facebook Stars, 2021: 0.01 USD a star for the host; a pack's price bears the fees.",
        terms={"usd": Terms(fee=_USD_FEE, minimum=1, maximum=1_000_00)},
        fee_bearer="platform",
    ),
    Policy(
        name="discord-2021",
        version=1,
        source="Discord ticketed Stage events, 2021: 10 % for the platform, at most 1,000 tickets.",
        terms={
            "usd": Terms(
                fee=_USD_FEE,
                minimum=1_00,
                maximum=999_00,
                tiers=(Tier(up_to=None, rate_bps=1_000),),
            ),
        },
        fee_bearer="platform",
        run_maximum=1_000,
        eligibility=Eligibility(hosts="community servers"),
    ),
    Policy(
        name="spaces-2021",
        version=1,
        source="Twitter Spaces, May 2021: 600 followers to open a Space; nothing is sold under it.",
        terms={},
        fee_bearer="platform",
        eligibility=Eligibility(followers_min=600),
    ),
)

PRESETS: Final[Mapping[str, Policy]] = MappingProxyType({policy.name: policy for policy in _ALL})

"""What may be charged: Stripe's presentment currencies and its smallest and largest charges."""

from sandbox.errors import StripeError

ALL = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad
cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd
hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl
mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg
qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah
ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw
"""
CURRENCIES = frozenset(ALL.split())
SMALLEST = {  # in minor units; 1 where Stripe names none
    "aed": 200,
    "aud": 50,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1_500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17_500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1_000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1_000,
    "usd": 50,
}
LARGEST = 99_999_999


def check(amount: int, currency: str, param: str = "amount") -> None:
    """The amount can be charged in that currency, or Stripe's own refusal."""
    if currency not in CURRENCIES:
        raise StripeError(f"Invalid currency: {currency}.", param="currency")
    smallest = SMALLEST.get(currency, 1)
    if amount < smallest:
        message = f"Amount must be at least {smallest} {currency} in minor units"
        raise StripeError(message, code="amount_too_small", param=param)
    if amount > LARGEST:
        raise StripeError("Amount is too large", code="amount_too_large", param=param)

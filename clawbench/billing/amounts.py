"""Exact amounts as text: no float ever stands between a sum of money and what is written of it."""

from __future__ import annotations

from fractions import Fraction

from clawbench.money import PICO, exact_text


def usd(pico_usd: Fraction) -> str:
    """An exact amount of USD as decimal text, or as a fraction where no decimal is exact."""
    whole, scale = pico_usd.as_integer_ratio()
    if scale == 1:
        return exact_text(whole)
    amount = pico_usd / PICO
    rest, places = amount.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        places = max(places, power)
    if rest != 1:
        return str(amount)
    digits = str(amount.numerator * 10**places // amount.denominator).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits

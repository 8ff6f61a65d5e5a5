"""`[billing]`: margin, exchange rate, price book and credit, as frozen, checked values."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from clawbench.billing.charge import Terms, terms
from clawbench.errors import PlanError
from clawbench.money import INT64_MAX, PICO, NotMoney, decimal

Count = Annotated[int, Meta(ge=1)]


class PriceListTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of `recorded_offers.prices`, with the day on which somebody read it."""

    path: str
    read_on: date  # its prices hold from this day (UTC) to the day of the next list; the first one's also before


class BillingTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[billing]`: what accounts are charged beside the providers' prices, and what they start with."""

    margin: Decimal = Decimal(0)  # on the upstream cost: 0.055 is 5.5 %
    usd_per_uat: Decimal = Decimal(1)  # USD for one UAT
    settle_cap: Count = 4  # a charge of more than so many holds is not believed
    credit_uat: Decimal = Decimal(
        1_000_000
    )  # what the account of a run, or of `serve` without a ledger file, starts with
    default_max_completion_tokens: Count | None = None  # of requests that name no limit; sent upstream
    price_book: str | None = None  # JSON rows of published prices; see billing/price_book.py

    def terms(self) -> Terms:
        """Raises `PlanError`."""
        try:
            return terms(str(self.margin), str(self.usd_per_uat), settle_cap=self.settle_cap)
        except NotMoney as error:
            raise PlanError(f"billing: {error}") from None

    def credit_pico_uat(self) -> int:
        """Raises `PlanError`."""
        try:
            pico = decimal(str(self.credit_uat)) * PICO
        except NotMoney as error:
            raise PlanError(f"billing.credit_uat: {error}") from None
        if pico != int(pico) or not 0 < pico <= INT64_MAX:
            raise PlanError(f"billing.credit_uat must be more than 0 and at most 9,223,372 UAT, got {self.credit_uat}")
        return int(pico)

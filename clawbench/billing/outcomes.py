"""What becomes of a request's hold: the decision table, first fitting row first.

| # | situation | outcome |
|---|---|---|
| 1 | failed before any content | release; release_and_flag where the provider may have billed it |
| 2 | an error object behind a status of 200 | release |
| 3 | the prompt was blocked | release_and_flag |
| 4 | the provider broke off after content | estimate_and_flag, paid by the platform |
| 5 | usage or a primary count missing; stream cut | estimate_and_flag, paid by the client |
| 6 | usage refused; something used has no price; more than `settle_cap` holds | quarantine |
| 7 | the provider stated the exact cost | charge_provider_reported |
| 8 | a sum does not hold, or more than the hold | charge_and_flag |
| 9 | otherwise | charge |

A bad usage object is never an error for the client, whose answer was delivered. Knows no ledger, no socket, no dialect.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final, Literal

from msgspec import Struct

from clawbench.billing.charge import ChargeOverflow, Cost, Served, Terms, Unpriced, charge_pico_uat, cost_of
from clawbench.billing.price_book import PriceBook
from clawbench.billing.tokens import BY_SIZE, BYTES_PER_TOKEN
from clawbench.errors import UpstreamError
from clawbench.money import PICO
from clawbench.usage.buckets import Buckets, Counted, Part, Uses

Outcome = Literal[
    "charge", "charge_provider_reported", "charge_and_flag", "estimate_and_flag", "quarantine", "release",
    "release_and_flag",
]  # fmt: skip
Cause = Literal[
    "failed", "may_have_billed", "prompt_blocked", "broke_off", "stream_cut", "usage_missing", "bad_usage",
    "unpriced_model", "unpriced_tier", "unpriced_bucket", "unpriced_multiplier", "unpriced_use", "over_settle_cap",
    "overflow", "sums_differ", "above_hold", "rounded_cost_differs",
]  # fmt: skip
"""Why an outcome is not a plain charge: what reports count by. `reasons` say it in words."""

HoldState = Literal["settled", "released", "open"]
Difference = Literal["equal", "rounded", "differs"]

_UNPRICED: Final[dict[str, Cause]] = {
    "model": "unpriced_model",
    "tier": "unpriced_tier",
    "bucket": "unpriced_bucket",
    "multiplier": "unpriced_multiplier",
    "use": "unpriced_use",
}

_EQUAL_PICO_USD: Final = 1_000  # 1e-9 USD
_ROUNDED_PICO_USD: Final = PICO // 1000  # 0.001 USD

# The provider had the request and may have worked on it: nobody can know whether it bills that.
_MAY_HAVE_BILLED: Final = frozenset(
    {
        "filtered", "timeout_first", "timeout_attempt", "timeout_total", "timeout_idle", "reset_early", "reset_mid",
        "truncated", "protocol_error", "too_large", "client_abort",
    }
)  # fmt: skip
_OUTPUT_COUNTS: Final = frozenset(
    {"completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens", "eval_count"}
)


class Ending(Struct, frozen=True, kw_only=True):
    """How an attempt ended, as its wire saw it.

    `error` is None for an answer that came to its end; `has_content` says whether any of it was output, `complete`
    whether a stream was whole; `blocked` that the provider refused the prompt behind a status of 200.
    `delivered_bytes` is the UTF-8 size of the output so far, for estimates; `delivered_tokens` what a tokenizer makes
    of that output, None where nobody asked one.
    """

    status: int | None = 200
    error: UpstreamError | None = None
    has_content: bool = True
    complete: bool = True
    blocked: bool = False
    delivered_bytes: int = 0
    delivered_tokens: int | None = None


class Hold(Struct, frozen=True, kw_only=True):
    """What was set aside. `input_tokens` is the prompt's estimate at admission; None where nobody made one."""

    pico_uat: int
    input_tokens: int | None = None


class Bill(Struct, frozen=True, kw_only=True):
    """The decision, and everything that it can be derived from again. Amounts that nobody can state are None.

    `cause` is None for a plain charge (by our reckoning or the provider's), and the first that applied otherwise.
    `cost_pico_usd` is the upstream cost, exact; `recomputed` the one by the price book where the provider stated its
    own, and `difference` how the two compare. `risk_pico_usd` is what the platform may owe without a charge.
    """

    outcome: Outcome
    hold: HoldState
    cause: Cause | None = None
    reasons: tuple[str, ...] = ()
    payer: Literal["client", "platform"] = "client"
    estimated: bool = False
    cost_pico_usd: Fraction | None = None
    charge_pico_uat: int | None = None
    basis: Cost | None = None
    recomputed_pico_usd: Fraction | None = None
    difference: Difference | None = None
    risk_pico_usd: Fraction | None = None


def decide(
    ending: Ending,
    counted: Counted,
    book: PriceBook,
    served: Served,
    agreed: Terms,
    hold: Hold,
    uses: tuple[Uses, ...] = (),
) -> Bill:
    """The bill of one attempt. Never raises for anything that a provider sent."""
    error = ending.error
    if _failed_without_content(ending, counted):
        why = str(error) if error else f"status {ending.status}"
        if error is not None and _may_have_billed(error, counted):
            known = _input_cost(book, counted, served)
            return _released(why, "may_have_billed", _risk(book, served, hold) if known is None else known)
        return _released(why, "failed", None)
    if ending.blocked:
        input_only = _input_cost(book, counted, served)
        return _released(
            "the prompt was blocked", "prompt_blocked", input_only if input_only is not None else Fraction(0)
        )
    billed_empty = error is not None and not ending.has_content  # broke off, and its exact cost came with it
    if error is not None and error.outcome == "error_event" and not billed_empty:
        return _estimate(ending, counted, book, served, agreed, hold, (str(error), "broke_off"), payer="platform")
    if not billed_empty and (counted.missing or not ending.complete or error is not None):
        lost: tuple[str, Cause] = ("the stream was cut", "stream_cut")
        if counted.missing:
            lost = (f"{', '.join(counted.missing)} missing", "usage_missing")
        return _estimate(ending, counted, book, served, agreed, hold, lost, payer="client")
    if counted.refused:
        return _quarantined("bad_usage", *counted.refused)
    return _charged(counted, cost_of(book, counted, served, uses), agreed, hold)


def _failed_without_content(ending: Ending, counted: Counted) -> bool:
    if ending.status is None or ending.status >= 400:
        return True
    if ending.has_content or ending.blocked or (ending.error is None and ending.complete):
        return False
    # An answer without output that broke off is still an answer where its exact cost came with it.
    return counted.reported_usd is None or bool(counted.missing)


def _may_have_billed(error: UpstreamError, counted: Counted) -> bool:
    """Also a stream that broke off before its output, if it had counted something by then."""
    return error.outcome in _MAY_HAVE_BILLED or (error.outcome == "error_event" and bool(counted.parts))


def _charged(counted: Counted, cost: Cost | Unpriced, agreed: Terms, hold: Hold) -> Bill:
    """Rows 6 to 9 of the table, for usage that was admitted."""
    reported = counted.reported_usd
    basis = cost if isinstance(cost, Cost) else None
    if reported is not None:
        amount = reported * PICO
    elif isinstance(cost, Cost):
        amount = cost.pico_usd
    else:
        return _quarantined(_UNPRICED[cost.lacks], cost.reason)
    try:
        charge = charge_pico_uat(amount, agreed)
    except ChargeOverflow as error:
        return _quarantined("overflow", str(error))
    if charge > hold.pico_uat * agreed.settle_cap:
        why = f"the charge of {charge} pico-UAT is more than {agreed.settle_cap} times its hold"
        return _quarantined("over_settle_cap", why)
    reasons = counted.flags
    cause: Cause | None = "sums_differ" if reasons else None
    if charge > hold.pico_uat:
        reasons += ("the charge is more than its hold",)
        cause = cause or "above_hold"
    recomputed = basis.pico_usd if basis is not None and reported is not None else None
    difference = None if recomputed is None else _difference(amount, recomputed, rounded=False)
    if counted.rounded_usd is not None and basis is not None:
        recomputed, difference = basis.pico_usd, _difference(counted.rounded_usd * PICO, amount, rounded=True)
        if difference == "differs":
            reasons += ("the provider's rounded cost is another one",)
            cause = cause or "rounded_cost_differs"
    outcome: Outcome = "charge_and_flag" if reasons else "charge"
    return Bill(
        outcome="charge_provider_reported" if reported is not None else outcome,
        hold="settled",
        cause=cause,
        reasons=reasons,
        cost_pico_usd=amount,
        charge_pico_uat=charge,
        basis=basis,
        recomputed_pico_usd=recomputed,
        difference=difference,
    )


def _difference(stated: Fraction, ours: Fraction, *, rounded: bool) -> Difference:
    apart = abs(stated - ours)
    if apart <= _EQUAL_PICO_USD:
        return "equal"
    return "rounded" if rounded and apart <= _ROUNDED_PICO_USD else "differs"


def _estimate(
    ending: Ending,
    counted: Counted,
    book: PriceBook,
    served: Served,
    agreed: Terms,
    hold: Hold,
    why: tuple[str, Cause],
    *,
    payer: Literal["client", "platform"],
) -> Bill:
    """Known input exactly, else as estimated at admission, plus the delivered output by its size; at most the hold."""
    delivered = ending.delivered_tokens
    if delivered is None:
        delivered = -(-ending.delivered_bytes // BYTES_PER_TOKEN)
    known = _known_input(counted)
    if known is None:
        buckets = Buckets(uncached_input=hold.input_tokens or 0, output_text=delivered)
    else:
        buckets = known._replace(output_text=max(known.output_text, delivered))
    cost = cost_of(book, Counted(normaliser=counted.normaliser, parts=(Part(buckets),)), served)
    amount = cost.pico_usd if isinstance(cost, Cost) else None
    said, cause = why
    reasons = (said,) if isinstance(cost, Cost) else (said, cost.reason)
    if payer == "platform":
        return Bill(
            outcome="estimate_and_flag",
            hold="released",
            cause=cause,
            reasons=reasons,
            payer="platform",
            estimated=True,
            charge_pico_uat=0,
            risk_pico_usd=amount,
        )
    try:
        charge = min(hold.pico_uat, 0 if amount is None else charge_pico_uat(amount, agreed))
    except ChargeOverflow:
        charge = hold.pico_uat
    return Bill(
        outcome="estimate_and_flag",
        hold="settled",
        cause=cause,
        reasons=reasons,
        estimated=True,
        cost_pico_usd=amount,
        charge_pico_uat=charge,
        basis=cost if isinstance(cost, Cost) else None,
    )


def _known_input(counted: Counted) -> Buckets | None:
    """The buckets of a usage of which at most the output is missing."""
    if not counted.parts or counted.refused or not _OUTPUT_COUNTS.issuperset(counted.missing):
        return None
    return counted.buckets


def _input_cost(book: PriceBook, counted: Counted, served: Served) -> Fraction | None:
    known = _known_input(counted)
    if known is None:
        return None
    cost = cost_of(book, Counted(normaliser=counted.normaliser, parts=(Part(known),)), served)
    return cost.pico_usd if isinstance(cost, Cost) else None


def _risk(book: PriceBook, served: Served, hold: Hold) -> Fraction:
    """The estimated prompt at its price; zero where neither is known: the flag says that there is a risk."""
    buckets = Buckets(uncached_input=hold.input_tokens or 0)
    cost = cost_of(book, Counted(normaliser=BY_SIZE, parts=(Part(buckets),)), served)
    return cost.pico_usd if isinstance(cost, Cost) else Fraction(0)


def _quarantined(cause: Cause, *reasons: str) -> Bill:
    return Bill(outcome="quarantine", hold="open", cause=cause, reasons=reasons)


def _released(why: str, cause: Cause, risk_pico_usd: Fraction | None) -> Bill:
    return Bill(
        outcome="release" if risk_pico_usd is None else "release_and_flag",
        hold="released",
        cause=cause,
        reasons=(why,),
        cost_pico_usd=Fraction(0),
        charge_pico_uat=0,
        risk_pico_usd=risk_pico_usd,
    )

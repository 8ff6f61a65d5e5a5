"""Money along a request's way: a hold before the first call, one ending after the last.

The pipeline opens a hold, has every attempt billed as it ends, and closes the hold with the bill of the attempt
that decided. What the platform owes for the others is booked beside. Which offer, price or count is right is
`billing`'s to say; what is written where is the ledger's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from clawbench.billing.amounts import usd
from clawbench.billing.attempt_bills import AttemptBill, Biller
from clawbench.billing.charge import Terms, charge_pico_uat, terms
from clawbench.billing.evidence import Evidence
from clawbench.billing.hold_sizing import HoldSizing
from clawbench.billing.ledger.protocol import (
    AttemptCost,
    Charge,
    DuplicateRequest,
    InsufficientCredits,
    KeyLimitReached,
    Ledger,
    LedgerOverflow,
    LedgerUnavailable,
    Progress,
    Risk,
    Spooled,
)
from clawbench.billing.meters import stated_meters
from clawbench.billing.outcomes import Ending, Hold
from clawbench.billing.tokens import estimated_tokens
from clawbench.errors import RequestError
from clawbench.gateway.attempt import Attempt
from clawbench.gateway.checkpoints import Checkpoints
from clawbench.gateway.recorder import RequestContext
from clawbench.money import exact_text
from clawbench.types import ChatRequest, Offer

EXPIRY_GRACE_S: Final = 900.0  # how long after its request's deadline a hold that was lost is given back
_US: Final = 1_000_000


class Holds:
    """Opens holds for one gateway. `epoch_s` is the Unix time at the clock's zero.

    `waits`: opening one takes time, during which a decision grows old.
    """

    def __init__(
        self,
        ledger: Ledger,
        biller: Biller,
        *,
        epoch_s: float,
        waits: bool = False,
        default_output_max: int | None = None,
    ) -> None:
        self.ledger, self.biller, self.epoch_s, self.waits = ledger, biller, epoch_s, waits
        self.default_output_max = default_output_max
        self.sizing = HoldSizing(biller.prices, biller.agreed)
        self.cost_terms: Terms = terms("0", biller.agreed.usd_per_uat)  # what the platform owes has no margin on it

    async def open(
        self,
        request: ChatRequest,
        context: RequestContext,
        offers: Iterable[Offer],
        *,
        prompt_tokens: int,
        now_s: float,
        deadline_s: float,
    ) -> OpenHold:
        """Sets aside what the request can cost at most. Raises `RequestError` 402, 409 or 422, and no call was made."""
        at_s = self.epoch_s + now_s
        amount = self.sizing.amount(request, offers, at_s=at_s)
        expires_us = int((self.epoch_s + deadline_s + EXPIRY_GRACE_S) * _US)
        try:
            held = await self.ledger.hold(
                context.account, context.key_id, context.request_id, context.body_sha256, amount, expires_us
            )
        except InsufficientCredits as error:
            raise _insufficient(error) from None
        except DuplicateRequest as error:
            raise _duplicate(error) from None
        except LedgerOverflow:
            raise _insufficient(InsufficientCredits(amount, 0)) from None
        except KeyLimitReached as error:
            raise _limited(error) from None
        except LedgerUnavailable:
            raise _unavailable() from None
        return OpenHold(self, held.id, Hold(pico_uat=amount, input_tokens=prompt_tokens), request, context.surface)


class OpenHold:
    """One request's money. `bill` each attempt that is over, then `close` once.

    `charge_pico_uat` is what the client was charged: None until it is known, and where the hold is kept for somebody to
    judge. `is_final`: the request has ended in a way after which its id never runs again.
    """

    __slots__ = (
        "_asked_ttl", "_holds", "_request", "_strategy", "_surface", "bills", "charge_pico_uat", "checkpoints", "held",
        "id", "is_final",
    )  # fmt: skip

    def __init__(self, holds: Holds, id: str, held: Hold, request: ChatRequest, surface: str = "") -> None:
        self._holds, self.id, self.held, self._request, self._surface = holds, id, held, request, surface
        self._strategy = ""
        self._asked_ttl: str | None = ""
        self.bills: dict[int, AttemptBill] = {}  # by number of the attempt
        self.charge_pico_uat: int | None = None
        self.is_final = False
        # What is forgotten with its process needs no note of how far it came.
        self.checkpoints = Checkpoints(self) if holds.waits else None

    def begun(self, attempt: Attempt, strategy: str) -> Attempt:
        """An attempt that is about to be sent, by this strategy's choice; the same one."""
        self._strategy = strategy
        if self.checkpoints is not None:
            self.checkpoints.begun(attempt)
        return attempt

    def bill(self, attempt: Attempt) -> AttemptBill:
        """The bill of an attempt that is over, good or bad; what it says of cost and counts goes into the facts."""
        facts, biller = attempt.facts, self._holds.biller
        billed = biller.bill(
            facts.offer,
            attempt.ending(),
            attempt.evidence(),
            at_s=self._holds.epoch_s + facts.t_dispatch_s,
            model=attempt.model_served,
            hold=self.held,
            asked_ttl=self._ttl(facts.offer.dialect),
        )
        if billed.bill.estimated:
            billed = biller.estimated(billed, *estimated_tokens(attempt.delivered()))
        self.bills[facts.number] = billed
        attempt.note_bill(billed)
        return billed

    async def close(self, number: int | None) -> None:
        """Ends the hold by the bill of attempt `number`, the last one where that is None; all comes back without."""
        if not self.bills:
            with suppress(Spooled):
                await self._holds.ledger.release(self.id, "no call was made")
            self.charge_pico_uat = 0
            return
        number = max(self.bills) if number is None else number
        decided = self.bills[number]
        bill, ledger = decided.bill, self._holds.ledger
        costs, risks = self._owed(self.bills, number)
        derivation = self._derivation(decided, len(self.bills))
        if bill.outcome == "quarantine":
            with suppress(Spooled):
                await ledger.quarantine(self.id, derivation, costs, risks)
            self.is_final = True
        elif bill.hold == "settled":
            charge = bill.charge_pico_uat or 0
            with suppress(Spooled):  # as durable as in the ledger: the client gets what it will be charged for
                await ledger.settle(
                    self.id, Charge(amount=charge, derivation=derivation, evidence=decided.evidence.usage), costs, risks
                )
            self.charge_pico_uat, self.is_final = charge, True
        else:
            with suppress(Spooled):
                await ledger.release(self.id, bill.reasons[0] if bill.reasons else bill.outcome, costs, risks)
            self.charge_pico_uat = 0

    def foreseen(self, attempt: Attempt, ending: Ending, evidence: Evidence) -> AttemptBill:
        """The bill of an attempt that is under way, if it ended so now."""
        facts = attempt.facts
        return self._holds.biller.bill(
            facts.offer,
            ending,
            evidence,
            at_s=self._holds.epoch_s + facts.t_dispatch_s,
            model=None,
            hold=self.held,
            asked_ttl=self._ttl(facts.offer.dialect),
        )

    def checkpoint(self, foreseen: Mapping[int, AttemptBill], delivering: int | None) -> None:
        """Notes what a crash from now on leaves to be booked, with the bills of the attempts that are under way.

        `delivering` is the one whose output the client is getting; None: nobody has got any.
        """
        bills = {**self.bills, **foreseen}
        costs, risks = self._owed(bills, delivering)
        charge = None
        if delivering is not None:
            decided = foreseen[delivering]
            charge = Charge(
                amount=decided.bill.charge_pico_uat or 0,
                derivation=self._derivation(decided, len(bills)),
                evidence=decided.evidence.usage,
            )
        self._holds.ledger.checkpoint(self.id, Progress(charge=charge, costs=tuple(costs), risks=tuple(risks)))

    def _derivation(self, decided: AttemptBill, attempts: int) -> dict[str, Any]:
        """What the charge or the quarantine by this bill cites."""
        return self._holds.biller.derivation(
            decided,
            model_requested=self._request.model,
            attempts=attempts,
            strategy=self._strategy,
            surface=self._surface,
        )

    def _owed(self, bills: Mapping[int, AttemptBill], decided: int | None) -> tuple[list[AttemptCost], list[Risk]]:
        """What providers bill for these attempts, and what they may bill; of `decided` a derivation says more."""
        costs, risks = [], []
        factor = self._holds.cost_terms
        for number, billed in bills.items():
            bill, served = billed.bill, billed.served
            attempt_id, provider = f"{self.id}/{number}", billed.offer.provider
            model, tier = billed.model or served.model, served.service_tier or ""
            if bill.hold == "settled" and bill.cost_pico_usd:
                costs.append(
                    AttemptCost(
                        attempt_id=attempt_id,
                        provider=provider,
                        amount=charge_pico_uat(bill.cost_pico_usd, factor),
                        usd=usd(bill.cost_pico_usd),
                        model=model,
                        service_tier=tier,
                        usd_per_uat=factor.usd_per_uat,
                        meters={} if number == decided else stated_meters(bill, billed.counted),
                    )
                )
            if bill.risk_pico_usd is not None:
                risks.append(
                    Risk(
                        attempt_id=attempt_id,
                        provider=provider,
                        amount=charge_pico_uat(bill.risk_pico_usd, factor),
                        reason=bill.reasons[0] if bill.reasons else "",
                        model=model,
                        service_tier=tier,
                        usd_per_uat=factor.usd_per_uat,
                    )
                )
        return costs, risks

    def _ttl(self, dialect: str) -> str | None:
        """The cache lifetime that the request asked for: it decides where only the sum of cache writes is stated."""
        if "anthropic" not in dialect and "bedrock" not in dialect:
            return None
        if self._asked_ttl == "":
            self._asked_ttl = asked_ttl(self._request)
        return self._asked_ttl


def asked_ttl(request: ChatRequest) -> str | None:
    """The longest `cache_control.ttl` in a request: "1h", "5m", or None where none is named."""
    found = {
        control.get("ttl")
        for message in request.messages
        for part in _parts(message.get("content"))
        if isinstance(control := part.get("cache_control"), dict)
    } | {control.get("ttl") for tool in request.tools or () if isinstance(control := tool.get("cache_control"), dict)}
    return "1h" if "1h" in found else "5m" if "5m" in found else None


def _parts(content: Any) -> list[dict[str, Any]]:
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _insufficient(error: InsufficientCredits) -> RequestError:
    return RequestError(
        f"This request needs up to {exact_text(error.required)} UAT, and {exact_text(error.available)} UAT are "
        "available. Top up the account, or ask for less: a lower max_completion_tokens needs less.",
        status=402,
        code="insufficient_credits",
        type="insufficient_quota",
        extra={"required": exact_text(error.required), "available": exact_text(error.available)},
    )


def _limited(error: KeyLimitReached) -> RequestError:
    return RequestError(
        f"This key's own limit does not allow the request: {error}.",
        status=402,
        code="insufficient_credits",
        type="insufficient_quota",
    )


def _unavailable() -> RequestError:
    return RequestError(
        "Nothing can be set aside for this request now, so it is not served. Try again in a few seconds.",
        status=503,
        code="unavailable",
        type="server_error",
        retry_after_s=5.0,
    )


def _duplicate(error: DuplicateRequest) -> RequestError:
    if error.reason == "other_body":
        return RequestError(
            "This idempotency key was used for another request; use a new key for a new request.",
            status=422,
            code="validation_error",
            type="invalid_request_error",
            param="idempotency-key",
        )
    state = "is still running" if error.reason == "running" else "has been answered and charged"
    named = "" if error.entry is None else f" (transaction {error.entry})"
    return RequestError(
        f"The request with this idempotency key {state}{named}; it is not run again.",
        status=409,
        code="request_conflict",
        type="invalid_request_error",
        param="idempotency-key",
        extra={} if error.entry is None else {"transaction": error.entry},
    )

"""Second opinions over a whole log: how often somebody else's reckoning agrees with the cost of a charge.

An opinion proves nothing: others' prices are those that came with their package. It is counted, and where it differs
the ratio is kept of the model's first call, so that one sees what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import msgspec

from clawbench.billing.audit_figures import Figures
from clawbench.billing.ledger.proof import Proof
from clawbench.billing.ledger.protocol import Entry
from clawbench.billing.second_opinions import SecondOpinion
from clawbench.billing.working_again import WorkedAgain
from clawbench.money import PICO
from clawbench.usage.admission import UsageRefused, parse
from clawbench.usage.anthropic import merged

AGREE_USD: Final = Fraction(1, 10**9)
_DIALECTS: Final = {
    "anthropic.messages": "anthropic",
    "openai.responses": "openai_responses",
    "xai.responses": "openai_responses",
    "openrouter.responses": "openai_responses",
    "gemini.generateContent": "gemini",
    "bedrock.converse": "bedrock_converse",
    "bedrock.invoke": "bedrock_invoke_other",
    "cohere.chat": "cohere",
    "ollama.chat": "ollama",
}
"""By what a normaliser reads; the others read OpenAI's chat."""

_MODELS_NAMED: Final = 20


class Opinions:
    """One other party's opinion of every charge; the same usage is asked once."""

    def __init__(self, other: SecondOpinion) -> None:
        self.name = other.name
        self._counts = {"agrees": 0, "differs": 0, "no_opinion": 0}
        self._differing: dict[str, str] = {}
        self._ask: Callable[[str, str, bytes, str, str | None], Decimal | None] = lru_cache(maxsize=4096)(
            lambda provider, model, usage, dialect, tier: other.opinion(
                provider, model, usage, dialect=dialect, service_tier=tier
            )
        )

    def charge(self, entry: Entry, derivation: Mapping[str, Any], worked: WorkedAgain) -> None:
        cost, usage = worked.bill.cost_pico_usd, _usage(derivation)
        if cost is None or usage is None or worked.bill.estimated:
            return
        model = str(derivation["model_served"] or derivation["price_of"][1])
        dialect = _DIALECTS.get(str(derivation["normaliser"]).rpartition("/")[0], "openai_chat")
        theirs = self._ask(str(derivation["provider"]), model, usage, dialect, derivation["service_tier"])
        if theirs is None or not theirs.is_finite():
            self._counts["no_opinion"] += 1
        elif abs(Fraction(theirs) - cost / PICO) <= AGREE_USD:
            self._counts["agrees"] += 1
        else:
            self._counts["differs"] += 1
            named = f"{derivation['provider']}/{model}"
            if named not in self._differing and len(self._differing) < _MODELS_NAMED:
                ours = Decimal(cost.numerator) / cost.denominator / PICO
                self._differing[named] = f"{theirs:.6g} USD for {ours:.6g} at entry {entry.seq}"

    def cost(self, entry: Entry, ended: Entry | None) -> None:
        """Costs of attempts have no usage beside them."""

    def finish(self, figures: Figures, proof: Proof) -> None:
        figures.opinions[self.name] = dict(self._counts)
        for named, what in self._differing.items():
            figures.find(f"{self.name} makes another cost of {named}: {what}")
        self._counts, self._differing = dict.fromkeys(self._counts, 0), {}


def _usage(derivation: Mapping[str, Any]) -> bytes | None:
    """The usage as one text: of a stream the last, or what its snapshots come to together."""
    texts = [text.encode() for text in derivation["usage_raw"]]
    if len(texts) > 1 and str(derivation["normaliser"]).startswith("anthropic."):
        try:
            return msgspec.json.encode(merged(*[value for text in texts if type(value := parse(text)) is dict]))
        except (UsageRefused, TypeError, ValueError):
            return None
    return texts[-1] if texts else None

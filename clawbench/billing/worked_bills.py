"""Runs worked bills as the gateway bills: reply bytes → wire → normaliser → price book → charge, and compares.

Every row goes the same way; what differs between providers is in their wires and normalisers, what differs between
models in the price book. A row that holds a usage text and no reply is put into a reply that its wire composes.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from clawbench.billing.amounts import usd
from clawbench.billing.charge import ChargeOverflow, Served, Terms, charge_pico_uat, terms
from clawbench.billing.evidence import Evidence
from clawbench.billing.outcomes import Bill, Cause, Ending, Hold, decide
from clawbench.billing.replies import ReadReply, counted_of, read_stream, read_whole
from clawbench.billing.vectors import (
    BadVectors,
    MockResponse,
    PriceSheet,
    ServedAs,
    SseReply,
    Vector,
    literal,
    no_such_api,
    sent_at,
)
from clawbench.errors import UpstreamError, UsageError
from clawbench.money import INT64_MAX, PICO, NotMoney, decimal
from clawbench.types import Choice, Completion, Offer
from clawbench.usage.buckets import Counted, Uses
from clawbench.usage.normalisers import normaliser_for
from clawbench.wires import wire_for
from clawbench.wires.event_stream import encode_frame
from clawbench.wires.protocol import Wire

HOLD_PICO_UAT: Final = 10 * PICO
CONTEXT_TOKENS: Final = 1_000_000  # of a row that does not state its model's
_BOUND_CONTEXTS: Final = 4
_PICO_DECIMALS: Final = 12

_DIALECTS: Final[dict[str, str]] = {
    "messages": "anthropic",
    "chat.completions": "openai_chat",
    "openai-compat chat.completions": "openai_chat",
    "responses": "openai_responses",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "converse": "bedrock_converse",
    "converse-stream": "bedrock_converse",
    "converseStream": "bedrock_converse",
    "invoke": "bedrock_anthropic",
    "v2/chat": "cohere",
    "v1/chat": "cohere_v1",
    "api/chat": "ollama",
    "api/generate": "ollama_generate",
}
_PROVIDERS: Final = {
    "azure": "azure-openai",
    "azure_ai": "azure-ai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "vertex_ai": "vertex",
    "x-ai": "xai",
}
"""Names of providers in rows, where they are not ours."""

_USAGE_KEYS: Final = {"gemini": "usageMetadata", "cohere_v1": "meta"}


class WorkedBill(Struct, frozen=True, kw_only=True):
    """A row's bill beside what it must be. `differences` is empty where all of it agrees."""

    id: str
    expected_outcome: str
    outcome: str
    expected_cost_usd: str | None
    cost_usd: str | None
    charge_pico_uat: str | None
    buckets: dict[str, int]
    hold: str
    reasons: tuple[str, ...]
    differences: tuple[str, ...]


def work(row: Vector, sheet: PriceSheet) -> WorkedBill:
    """Bills a row of the file that the sheet is of. One that cannot be run differs, by the reason why."""
    try:
        return _worked(row, sheet)
    except (UsageError, NotMoney) as error:
        return WorkedBill(
            id=row.id,
            expected_outcome=row.expected_outcome,
            outcome="not run",
            expected_cost_usd=None,
            cost_usd=None,
            charge_pico_uat=None,
            buckets={},
            hold="none",
            reasons=(),
            differences=(f"line {row.line}: {error}",),
        )


def _worked(row: Vector, sheet: PriceSheet) -> WorkedBill:
    if row.api == "ledger":
        bill, counted = _arithmetic(row), None
    else:
        bill, counted = _billed(row, sheet)
    buckets = counted.buckets.stated() if counted is not None else {}
    return WorkedBill(
        id=row.id,
        expected_outcome=row.expected_outcome,
        outcome=bill.outcome,
        expected_cost_usd=literal(row.expected_cost_usd),
        cost_usd=None if bill.cost_pico_usd is None else usd(bill.cost_pico_usd),
        charge_pico_uat=None if bill.charge_pico_uat is None else str(bill.charge_pico_uat),
        buckets=buckets,
        hold=bill.hold,
        reasons=bill.reasons,
        differences=tuple(_differences(row, bill, buckets)),
    )


def _billed(row: Vector, sheet: PriceSheet) -> tuple[Bill, Counted]:
    dialect = _DIALECTS.get(row.api)
    if dialect is None:
        raise no_such_api(row, sorted(_DIALECTS))
    provider = _PROVIDERS.get(row.provider, row.provider)
    if row.api.startswith("openai-compat"):
        provider = "gemini" if provider in ("gemini", "vertex") else provider
    model = row.model or row.price_key or "model"
    wire = wire_for(
        Offer(
            id=row.id, provider=provider, model=model, upstream_model=model, base_url="https://offer", dialect=dialect
        )
    )
    reply = _replayed(row, wire, model)
    context = row.context
    asked_ttl = "1h" if _mentions(context, "1h") else None  # the only lifetime that anybody names there
    limit = context.get("context_tokens")
    bound = _BOUND_CONTEXTS * (limit if type(limit) is int else CONTEXT_TOKENS)
    counted = counted_of(reply, normaliser_for(dialect, provider), bound=bound, asked_ttl=asked_ttl)
    counted = structs.replace(counted, traits=_traits(row, counted))
    tier = reply.evidence.service_tier or counted.service_tier or context.get("service_tier")
    served = Served(
        provider=row.provider, model=reply.model or model, at_s=sent_at(row) or 0.0, service_tier=_text(tier)
    )
    said = ServedAs(
        model=reply.model,
        service_tier=reply.evidence.service_tier or counted.service_tier,
        traits=counted.traits,
    )
    book = sheet.book_of(row, said)
    hold = Hold(pico_uat=HOLD_PICO_UAT)
    uses = _as_named(row, reply.evidence.uses)
    counted = structs.replace(counted, uses=_as_named(row, counted.uses))
    return decide(reply.ending, counted, book, served, terms(), hold, uses), counted


def _mentions(value: Any, word: str) -> bool:
    """Whether a word stands anywhere in a row's context."""
    if type(value) is dict:
        return any(_mentions(inner, word) for inner in value.values())
    return any(_mentions(inner, word) for inner in value) if type(value) is list else value == word


def _as_named(row: Vector, uses: tuple[Uses, ...]) -> tuple[Uses, ...]:
    """Uses under the names that a row has for them. One that it names otherwise than we do is told by its count."""
    named = {fee.kind: literal(fee.count) for fee in row.tool_fees or ()}
    ours = {kind for each in uses for kind in each.counts}
    foreign = {kind: count for kind, count in named.items() if kind not in ours and not kind.startswith("request_")}
    found: list[Uses] = []
    for each in uses:
        fitting = [kind for kind, count in foreign.items() if count in [str(n) for n in each.counts.values()]]
        if named.keys().isdisjoint(each.counts) and len(fitting) == 1 and not _is_by_size(each):
            each = Uses({fitting[0]: int(foreign.pop(fitting[0]) or 0)})
        found.append(each)
    return tuple(found)


def _is_by_size(use: Uses) -> bool:
    """Fees by the size of a search's context are as many as there are sizes: a foreign size is another fee."""
    return any(kind.startswith("request_") for kind in use.counts)


def _traits(row: Vector, counted: Counted) -> tuple[str, ...]:
    """Circumstances of the reply, and those that the request fixed (an endpoint's region is in no reply)."""
    asked = {f"{key}_{value}" for key, value in row.context.items()} | set(map(str, row.context.values()))
    fixed = tuple(each.name for each in row.multipliers or () if each.name in asked and each.name not in counted.traits)
    return counted.traits + fixed


def _replayed(row: Vector, wire: Wire, model: str) -> ReadReply:
    mock = row.mock_response or MockResponse()
    if mock.status is None:
        outcome = "connect_error" if "connect" in (mock.error or "") else "timeout_first"
        error = UpstreamError(mock.error or "nobody answered", outcome=outcome)
        return ReadReply(
            ending=Ending(status=None, error=error, has_content=False, complete=False), evidence=Evidence()
        )
    if mock.sse is not None:
        return read_stream(wire, mock.status, _chunks(wire.name, mock.sse))
    body = bytes(mock.body)
    if body.startswith(b'"'):
        body = msgspec.json.decode(body, type=str).encode()
    return read_whole(wire, mock.status, {}, _composed(row, wire, model) if body == b"null" else body)


def _chunks(dialect: str, sse: SseReply) -> list[bytes]:
    """The bytes of a stream, an event a chunk, in the framing of the dialect."""
    if sse.sse_named is not None:
        events = list(sse.sse_named)
    else:
        events = [("", event) for event in sse.sse or ()]
    if dialect == "bedrock_converse":
        named = [(name, bytes(event)) for name, event in events]
        return [
            encode_frame({":message-type": "event", ":event-type": name, ":content-type": "application/json"}, event)
            for name, event in named
        ]
    if dialect.startswith("ollama"):
        return [bytes(event) + b"\n" for _, event in events]
    chunks = [
        (b"event: %s\n" % name.encode() if name else b"") + b"data: " + bytes(event) + b"\n\n" for name, event in events
    ]
    return [*chunks, b"data: [DONE]\n\n"] if sse.done else chunks


def _composed(row: Vector, wire: Wire, model: str) -> bytes:
    """A whole reply that holds the row's usage as it stands, text that is no JSON included."""
    answer = Completion(
        choices=(Choice(content="ok", finish_reason="stop"),), id="1", model=model, created=1_760_000_000
    )
    members: dict[str, Raw] = msgspec.json.decode(wire.compose(answer).body, type=dict[str, Raw])
    raw = bytes(row.usage_raw)
    if raw.startswith(b'"'):
        raw = msgspec.json.decode(raw, type=str).encode()
    key = _USAGE_KEYS.get(wire.name, "usage")
    members.pop(key, None)
    texts = [msgspec.json.encode(name) + b":" + bytes(member) for name, member in members.items()]
    if wire.name.startswith("ollama"):  # its counts stand among the other members
        counts = b"" if raw == b"null" else raw.strip().removeprefix(b"{").removesuffix(b"}")
        texts = [*(text for text in texts if b"eval_count" not in text), counts]
    elif raw != b"null":
        texts.append(msgspec.json.encode(key) + b":" + raw)
    return b"{" + b",".join(text for text in texts if text.strip()) + b"}"


def _arithmetic(row: Vector) -> Bill:
    """A row that states a cost and terms instead of a reply; `scale` are the decimals of UAT that a charge may have."""
    try:
        stated = msgspec.json.decode(bytes(row.usage_raw), type=dict[str, Raw])
    except msgspec.DecodeError as error:
        raise BadVectors(f"{row.id}: usage_raw states no cost and terms: {error}") from None

    def amount(key: str, default: str) -> Fraction:
        return Fraction(decimal(literal(stated[key]) or default if key in stated else default))

    scale = amount("scale", "12")
    if scale.denominator != 1 or not 0 <= scale <= _PICO_DECIMALS:
        raise BadVectors(f"{row.id}: a scale of {scale} is none; amounts have 0 to {_PICO_DECIMALS} decimals")
    unit = 10 ** (_PICO_DECIMALS - int(scale))
    try:
        cost = amount("upstream_cost_usd", "") * PICO
        margin, per_usd = amount("margin_bps", "0") / 10_000, amount("uat_per_usd", "1")
        if margin < 0 or per_usd <= 0:
            raise NotMoney(f"a margin of {margin} at {per_usd} UAT for 1 USD is no price")
        agreed = Terms(margin=str(margin), usd_per_uat=f"1/{per_usd}", factor=(1 + margin) * per_usd / unit)
        charge = charge_pico_uat(cost, agreed) * unit
        if charge > INT64_MAX:
            raise ChargeOverflow(f"{charge} pico-UAT do not fit a ledger amount")
    except (NotMoney, ChargeOverflow, ValueError) as error:
        return _refused("overflow" if isinstance(error, ChargeOverflow) else "bad_usage", str(error))
    return Bill(outcome="charge", hold="settled", cost_pico_usd=cost, charge_pico_uat=charge)


def _refused(cause: Cause, why: str) -> Bill:
    return Bill(outcome="quarantine", hold="open", cause=cause, reasons=(why,))


def _differences(row: Vector, bill: Bill, buckets: dict[str, int]) -> list[str]:
    found: list[str] = []
    if bill.outcome != row.expected_outcome:
        found.append(f"outcome {bill.outcome}, expected {row.expected_outcome}")
    expected_cost, expected_charge = literal(row.expected_cost_usd), literal(row.expected_charge_pico_uat)
    if expected_cost is not None:
        if bill.cost_pico_usd != Fraction(decimal(expected_cost)) * PICO:
            ours = "none" if bill.cost_pico_usd is None else usd(bill.cost_pico_usd)
            found.append(f"cost {ours} USD, expected {expected_cost}")
    elif expected_charge is None and not 0 <= (bill.charge_pico_uat or 0) <= HOLD_PICO_UAT:
        found.append(f"charge {bill.charge_pico_uat} pico-UAT is not within the hold")
    if expected_charge is not None and str(bill.charge_pico_uat) != expected_charge:
        found.append(f"charge {bill.charge_pico_uat} pico-UAT, expected {expected_charge}")
    if row.canonical is not None:
        # Fees and the count of requests are stated there too; they are in the cost.
        expected_buckets = {key: n for key, n in row.canonical.items() if n and key not in ("requests", "tool_fees")}
        if buckets != expected_buckets:
            found.append(f"buckets {buckets}, expected {expected_buckets}")
    return found


def _text(value: Any) -> str | None:
    return value if type(value) is str else None

"""A request on its way through the gateway."""

from __future__ import annotations

from msgspec import Struct, structs

from clawbench.errors import UpstreamError
from clawbench.gateway.holds import OpenHold
from clawbench.gateway.recorder import RequestContext, Trace
from clawbench.routing.reference import Reference
from clawbench.types import ChatRequest, Offer, RequestShape
from clawbench.wires.failures import CONTEXT_LENGTH


class Asked(Struct, frozen=True):
    """What was asked, by whom, until when, with how much set aside for it."""

    request: ChatRequest
    reference: Reference
    shape: RequestShape
    context: RequestContext
    trace: Trace
    deadline_s: float
    hold: OpenHold


def longer(asked: Asked, error: UpstreamError, offer: Offer) -> Asked:
    """The request after an offer refused it for its length: longer than estimated, so only larger windows are left."""
    window = offer.context_window
    if error.code != CONTEXT_LENGTH or window is None or asked.shape.prompt_tokens > window:
        return asked
    return structs.replace(asked, shape=structs.replace(asked.shape, prompt_tokens=window + 1))

"""Makes interactions as a recorder would have recorded them: calls of an offer, answered by an emulated provider.

Nothing happened before any of them: each depends on its prompt and its offer only, so a prompt added or changed leaves
the others as they are, and the same prompts give the same bytes. Of the reply's headers those are kept that a scrubbed
recording keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.kept_headers import IDENTIFIER_HEADERS, is_kept
from clawbench.emulator.provider import EmulatedProvider
from clawbench.rng import draws
from clawbench.types import ChatRequest, Offer
from clawbench.wires import wire_for
from clawbench.workloads.prompts import Prompt

_DECIMALS: Final = 4  # of recorded instants: a tenth of a millisecond is finer than any network


def made(
    offer: Offer, provider: EmulatedProvider, asked: Iterable[tuple[Prompt, bool]], *, file: str, seed: int
) -> Iterator[Interaction]:
    """The prompts in their order with their stream flags, as the gateway sends them and the provider answers them."""
    wire = wire_for(offer)
    for index, (prompt, stream) in enumerate(asked):
        call = wire.encode(as_asked(prompt, offer.model, stream=stream), offer)
        # The stream flag is not in the key: both recordings of a prompt have the same luck.
        reply = provider.answer(call, draws(seed, prompt.id, offer.id))
        yield Interaction(
            file=file,
            index=index,
            method=call.method,
            url=call.url,
            request_headers=call.headers,
            request_body=call.body,
            status=reply.status,
            headers={
                name: value for name, value in reply.headers.items() if is_kept(name) and name not in IDENTIFIER_HEADERS
            },
            body=reply.body,
            timing=RecordedTiming(
                round(reply.headers_s, _DECIMALS),
                tuple((len(data), round(t_s, _DECIMALS)) for data, t_s in reply.chunks),
            ),
        )


def as_asked(prompt: Prompt, model: str, *, stream: bool) -> ChatRequest:
    """The request that a client makes of a prompt."""
    return msgspec.structs.replace(prompt.request, model=model, stream=stream, include_usage=stream)

"""Providers without a wire of their own, through litellm's transformations: one wire a provider, "litellm:<provider>".

litellm knows how some 130 providers want to be asked and what their answers mean, as pure functions of its provider
configs. They run here without a socket: URL, headers and body come out of them, the transport sends, and the reply
goes back in. Credentials are the transport's matter: a placeholder stands in for the key and is taken out again,
`key_places` says where it stood. What cannot be done without a network is refused with the reason.
These wires only call: they recognise no recording, parse no call and compose no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from msgspec.structs import replace

from clawbench.errors import UpstreamError, did_you_mean
from clawbench.types import ChatRequest, Completion, Delta, Headers, HttpCall, Offer
from clawbench.wires.failures import clean, error_in_body, read_error, refusal
from clawbench.wires.litellm_bridge_import import import_httpx, import_litellm, sealed
from clawbench.wires.litellm_bridge_reply import completion_of
from clawbench.wires.litellm_bridge_request import PLACEHOLDER, Encoded, can_stream, encoded, is_secret
from clawbench.wires.litellm_bridge_stream import BridgeStream
from clawbench.wires.protocol import ComposedReply
from clawbench.wires.sse_json import unreadable
from clawbench.wires.tolerant_json import NotJson, loads

PREFIX: Final = "litellm:"

_ONE_SIDED: Final = (
    "This dialect only calls providers through litellm; it reads no recorded calls and writes no answers."
)
_OTHER_CLIENT: Final = frozenset({"azure", "aiohttp_openai"})
"""Providers whose answers litellm reads through a client library instead of a transformation."""

_OWN_DIALECT: Final = {
    "azure": "openai_chat",
    "aiohttp_openai": "openai_chat",
    "gemini": "gemini",
    "vertex_ai_beta": "gemini",
    "gdc": "gemini",
}
"""The way out for providers that a wire of ours speaks to."""


def providers() -> tuple[str, ...]:
    """Every provider that litellm knows, sorted, also those without chat. Imports litellm."""
    return tuple(sorted(provider.value for provider in import_litellm().LlmProviders))


@lru_cache(maxsize=1024)
def bridge(provider: str, model: str = "") -> LitellmBridge:
    """The wire of a provider. Does not import litellm; the first call through it does.

    `model` is the provider's own name of a model: a few providers (Azure AI, Vertex) have several APIs behind one
    name, and answers are read as that model's API gives them.
    """
    return LitellmBridge(provider, model)


class LitellmBridge:
    """The wire of one provider."""

    def __init__(self, provider: str, model: str = "") -> None:
        self.name = f"{PREFIX}{provider}"
        self.provider = provider
        self._model = model

    def recognises(self, call: HttpCall, reply_body: bytes) -> bool:
        """Never: a recording does not tell that litellm would have been asked."""
        return False

    def encode(self, request: ChatRequest, offer: Offer) -> HttpCall:
        """The call as litellm would make it, without credentials.

        Raises `UpstreamError` (rejected) for a provider that cannot be called so, saying why and the way out, and for
        tools or several answers where the provider knows none.
        """
        call = self._encoded(request, offer)
        return HttpCall(
            method="POST",
            url=call.url,
            headers={name: text for name, text in call.headers.items() if not is_secret(name, text)},
            body=call.body,
            offer_id=offer.id,
            stream=call.stream,
            notes=call.notes,
        )

    def key_places(self, offer: Offer) -> dict[str, str]:
        """Where the provider wants its key: header name → text with `{key}`; empty where litellm does not say."""
        asked = ChatRequest(model=offer.model, messages=[{"role": "user", "content": "hi"}])
        headers = self._encoded(asked, offer).headers
        return {name: text.replace(PLACEHOLDER, "{key}") for name, text in headers.items() if PLACEHOLDER in text}

    def decode(self, status: int, headers: Headers, body: bytes) -> Completion:
        """A whole 2xx body. Raises `UpstreamError`: error_200, protocol_error, or what `error` gives below 2xx."""
        if not 200 <= status < 300:
            raise refusal(status, headers, body)
        try:
            value: Any = loads(body)[0]
        except NotJson as error:
            raise unreadable(body, str(error), status) from None
        said = read_error(value) if type(value) is dict and value.get("error") else None
        if said is not None:
            raise error_in_body(said, outcome="error_200", status=status)
        config = self._config(self._model)
        try:
            with sealed():
                made = _transformed(config, self._model, status, headers, body)
        except Exception as error:  # litellm raises whatever it likes at a body that it cannot read
            said = read_error(value) if type(value) is dict else None
            if said is not None:
                raise error_in_body(said, outcome="error_200", status=status) from None
            text = clean(f"Unreadable answer: {error}")
            raise UpstreamError(text, outcome="protocol_error", status=status) from None
        completion = completion_of(made, body, headers)
        if not completion.choices:
            raise UpstreamError("The answer holds no choice.", outcome="protocol_error", status=status)
        return completion

    def stream(self) -> BridgeStream:
        """A decoder for one streamed body, or for a whole one where litellm has no stream."""
        config = self._config(self._model)
        opened: Callable[[Any], Any] = _no_iterator
        if can_stream(config):

            def opened(lines: Any) -> Any:
                return config.get_model_response_iterator(streaming_response=lines, sync_stream=True)

        return BridgeStream(opened, lambda body: self.decode(200, {}, body))

    def error(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """The typed error for a reply that is no success."""
        return refusal(status, headers, body)

    def parse(self, call: HttpCall) -> ChatRequest:
        """Always raises `ValueError`."""
        raise ValueError(_ONE_SIDED)

    def compose(self, completion: Completion) -> ComposedReply:
        """Always raises `ValueError`."""
        raise ValueError(_ONE_SIDED)

    def compose_stream(self, deltas: Iterable[Delta], *, id: str, model: str, created: int) -> Iterator[bytes]:
        """Always raises `ValueError`."""
        raise ValueError(_ONE_SIDED)

    def _encoded(self, request: ChatRequest, offer: Offer) -> Encoded:
        config = self._config(offer.upstream_model)
        try:
            with sealed() as reached:
                call = encoded(config, self.provider, request, offer)
        except UpstreamError:
            raise
        except NotImplementedError:
            raise self._refused("litellm makes its calls in a handler, not in a transformation") from None
        except Exception as error:  # each provider raises something of its own
            raise self._refused(f"litellm would reach {reached[0]}" if reached else str(error)) from None
        if not reached:
            return call
        # It went on without: a prompt template of the model that it did not get, in the cases that were seen.
        return replace(call, notes=(*call.notes, clean(f"litellm wanted to reach {reached[0]} and was refused")))

    def _config(self, model: str) -> Any:
        """litellm's transformations for this provider. Raises `UpstreamError` (rejected) where there are none."""
        litellm = import_litellm()
        known = litellm.LlmProviders
        try:
            provider = known(self.provider)
        except ValueError:
            near = did_you_mean(self.provider, (each.value for each in known))
            text = f"litellm knows no provider {self.provider!r}.{near}"
            raise UpstreamError(text, outcome="rejected") from None
        try:
            with sealed():
                config = litellm.utils.ProviderConfigManager.get_provider_chat_config(model, provider)
        except Exception as error:  # each provider raises something of its own
            raise self._refused(str(error)) from None
        if self.provider in _OTHER_CLIENT:
            raise self._refused("litellm reads its answers through a client library, not in a transformation")
        if config is None:
            raise self._refused("litellm has no chat transformation for it")
        return config

    def _refused(self, why: str) -> UpstreamError:
        dialect = _OWN_DIALECT.get(self.provider)
        way_out = f'give the offer the dialect "{dialect}"' if dialect else "choose an offer of another provider"
        text = f"{self.provider} cannot be called through litellm: {clean(why).rstrip('.')}; {way_out}."
        return UpstreamError(text, outcome="rejected")


def _no_iterator(lines: Any) -> None:
    """For providers that are asked for a whole answer."""


def _transformed(config: Any, model: str, status: int, headers: Headers, body: bytes) -> dict[str, Any]:
    """What litellm reads from a reply, as a plain dict."""
    httpx = import_httpx()
    request = httpx.Request("POST", "https://upstream.invalid/")
    kept = {name: text for name, text in headers.items() if name != "content-encoding"}
    made = config.transform_response(
        model=model,
        raw_response=httpx.Response(status, headers=kept, content=body, request=request),
        model_response=import_litellm().ModelResponse(id="", created=0, service_tier=None),
        logging_obj=_Silent(),
        request_data={"inputs": "", "parameters": {}},
        messages=[{"role": "user", "content": "."}],  # some count tokens of it, which is taken out again
        optional_params={},
        litellm_params={"api_base": "https://upstream.invalid/generate"},  # Triton tells its two APIs apart by it
        encoding=None,
        api_key=PLACEHOLDER,
    )
    plain: dict[str, Any] = made.model_dump()
    return plain


class _Silent:
    """Stands where litellm wants its log: takes every call, keeps nothing."""

    def __init__(self) -> None:
        self.model_call_details: dict[str, Any] = {}
        self.optional_params: dict[str, Any] = {}
        self.litellm_params: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


def _ignore(*arguments: Any, **named: Any) -> None:
    return None

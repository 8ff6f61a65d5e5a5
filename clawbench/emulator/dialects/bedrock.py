"""Bedrock's ways: exceptions named in a header, throttling without a wait, its own latency in the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from clawbench.emulator.dialects.manners import Facts, Manners, Refusal, compact, http_date, milliseconds
from clawbench.wires.event_stream import FRAME_BYTES_MAX, FrameSplitter, encode_frame

_CORAL: Final = ":http://internal.amazon.com/coral/com.amazon.bedrock/"


class BedrockConverseManners(Manners):
    """Converse and ConverseStream."""

    chat_path = re.compile(r"/model/[^/]+/converse(?:-stream)?/?$")
    states_usage_unasked = True
    stream_type = "application/vnd.amazon.eventstream"
    id_prefix = ""
    tool_call_prefix = "tooluse_"

    def headers(self, facts: Facts) -> dict[str, str]:
        return {"date": http_date(facts.epoch_s), "x-amzn-requestid": facts.id}

    def refusal(self, why: Refusal, facts: Facts) -> tuple[int, dict[str, str], bytes]:
        status, name, message = _words(why)
        headers = {"content-type": "application/json", "x-amzn-errortype": name + _CORAL}
        return status, headers, compact({"message": message})

    def whole(self, body: bytes, facts: Facts) -> bytes:
        value = json.loads(body)
        value["metrics"] = {"latencyMs": round(facts.end_s * 1000)}
        return compact(value)

    def frame(self, frame: bytes, facts: Facts, *, at_s: float) -> bytes:
        """The last event states how long the provider took; frames carry checksums, so it is written anew."""
        if b"metadata" not in frame[:128]:
            return frame
        (read,) = FrameSplitter(FRAME_BYTES_MAX).feed(frame)
        if read.headers.get(":event-type") != "metadata":
            return frame
        value = {"metrics": {"latencyMs": round(facts.end_s * 1000)}, "usage": json.loads(read.payload)["usage"]}
        return encode_frame(dict(read.headers), compact(value))

    def models(self, path: str, served: Mapping[str, str], created: int) -> bytes | None:
        if not path.endswith("/foundation-models"):
            return None
        entries: list[dict[str, Any]] = [
            {
                "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{name}",
                "modelId": name,
                "modelName": name,
                "providerName": owner,
                "inputModalities": ["TEXT", "IMAGE"],
                "outputModalities": ["TEXT"],
                "responseStreamingSupported": True,
                "inferenceTypesSupported": ["ON_DEMAND"],
            }
            for name, owner in served.items()
        ]
        return compact({"modelSummaries": entries})


class BedrockInvokeManners(BedrockConverseManners):
    """InvokeModel, whose bodies are those of the models' makers and whose metrics stand in headers."""

    chat_path = re.compile(r"/model/[^/]+/invoke(?:-with-response-stream)?/?$")
    id_prefix = "msg_bdrk_"
    tool_call_prefix = "toolu_bdrk_"

    def headers(self, facts: Facts) -> dict[str, str]:
        headers = super().headers(facts)
        if facts.usage is not None and not facts.streamed:
            headers["x-amzn-bedrock-invocation-latency"] = milliseconds(facts.worked_s)
            headers["x-amzn-bedrock-input-token-count"] = str(facts.usage.input_tokens or 0)
            headers["x-amzn-bedrock-output-token-count"] = str(facts.usage.output_tokens or 0)
        return headers

    def whole(self, body: bytes, facts: Facts) -> bytes:
        return body

    def frame(self, frame: bytes, facts: Facts, *, at_s: float) -> bytes:
        return frame


def _words(why: Refusal) -> tuple[int, str, str]:
    """(status, exception, message)."""
    match why.kind:
        case "rate_limited":
            return 429, "ThrottlingException", "Too many requests, please wait before trying again."
        case "tokens_limited":
            return 429, "ThrottlingException", "Too many tokens, please wait before trying again."
        case "overloaded":
            message = "Too many connections, please wait before trying again."
            return 503, "ServiceUnavailableException", message
        case "unavailable":
            return 503, "ServiceUnavailableException", "Bedrock is unable to process your request."
        case "server_error":
            message = "The system encountered an unexpected error during processing. Try your request again."
            return 500, "InternalServerException", message
        case "unauthorized":
            message = "The security token included in the request is invalid."
            return 403, "UnrecognizedClientException", message
        case "model_not_found":
            return 400, "ValidationException", "The provided model identifier is invalid."
        case "no_route":
            return 404, "UnknownOperationException", "The operation is not known."
        case "context_length":
            return 400, "ValidationException", "Input is too long for requested model."
        case _:
            return 400, "ValidationException", why.text

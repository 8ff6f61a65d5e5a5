"""What clients are told when every attempt has failed. A provider's body is never passed on."""

from __future__ import annotations

from clawbench.errors import RequestError, UpstreamError

TIMEOUTS = ("timeout_first", "timeout_attempt", "timeout_total", "timeout_idle")


def request_error(error: UpstreamError, *, attempts: int) -> RequestError:
    """What a client is told when the last attempt failed with `error`; the provider's body is never passed on."""
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    if error.outcome == "rate_limited":
        return RequestError(
            f"The providers are limiting requests ({tried}). Try again later.",
            status=429,
            code="rate_limited",
            type="rate_limit_error",
            retry_after_s=error.retry_after_s if error.retry_after_s is not None else 1.0,
        )
    if error.outcome in ("rejected", "filtered"):
        context = error.code == "context_length_exceeded"
        return RequestError(
            f"The provider refused the request: {error.message}",
            status=400,
            code="context_length_exceeded" if context else "bad_request",
            type="invalid_request_error",
            param="messages" if context else None,
        )
    if error.outcome in TIMEOUTS:
        return RequestError(
            f"No provider answered in time ({tried}).", status=504, code="upstream_timeout", type="upstream_error"
        )
    reason = error.message if error.outcome == "no_recording" else f"The last one failed with {error.outcome}."
    return RequestError(
        f"No provider could answer ({tried}). {reason}", status=502, code="upstream_error", type="upstream_error"
    )


def client_gone() -> UpstreamError:
    """How an attempt ends whose client left."""
    return UpstreamError("The client has gone.", outcome="client_abort", try_next=False)


def our_mistake() -> UpstreamError:
    """How an attempt ends that the gateway itself has broken."""
    return UpstreamError("The gateway failed.", outcome="protocol_error", try_next=False)

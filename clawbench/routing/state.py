"""What is believed of an offer at one instant, as strategies see it."""

from __future__ import annotations

from clawbench.types import Offer

OVERTAKEN = "overtaken"
"""Outcome of an attempt that was given up because another one was first: it took at least so long, and did no wrong."""


class Live:
    """What is under way at an offer right now: one lease an attempt, each with its own expiry.

    A lease that was never given back (a lost task) stops counting when its expiry has passed.
    """

    __slots__ = ("_earliest_s", "answers", "busy_since_s", "last_dispatch", "leases", "next_lease")

    def __init__(self, last_dispatch: int) -> None:
        self.leases: dict[int, float] = {}
        self.last_dispatch = last_dispatch
        self.answers = 0  # attempts that ended, well or badly
        self.busy_since_s = 0.0  # since when there has always been something under way
        self.next_lease = 0
        self._earliest_s = float("inf")

    def lease(self, at_s: float, expires_s: float) -> int:
        if not self.leases:
            self.busy_since_s = at_s
        self.next_lease += 1
        self.leases[self.next_lease] = expires_s
        self._earliest_s = min(self._earliest_s, expires_s)
        return self.next_lease

    def in_flight(self, at_s: float) -> int:
        if at_s > self._earliest_s:
            self.leases = {lease: end_s for lease, end_s in self.leases.items() if end_s >= at_s}
            self._earliest_s = min(self.leases.values(), default=float("inf"))
        return len(self.leases)


class OfferState:
    """An offer with what has been observed of it, for requests of one kind (streamed or not, prompt size).

    Belongs to the estimates, which keep it up to date; strategies read it and never change it. `*_error` are
    standard errors of the natural logarithm: 0.1 means the prediction is good to about 10 %.
    """

    __slots__ = (
        "age_s",
        "cached_share",
        "failed_cost",
        "failure_share",
        "fresh_until_s",
        "in_flight",
        "last_dispatch",
        "log_rate_error",
        "log_ttft_error",
        "offer",
        "output_tokens",
        "sampled_in_flight",
        "samples",
        "token_rate",
        "ttft_s",
        "ttft_s_median",
        "version",
    )

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.ttft_s = 1.0  # predicted seconds to the first token: the mean
        self.ttft_s_median = 1.0
        self.token_rate = 1.0  # predicted output tokens per second after the first
        self.output_tokens = 1.0  # expected length of the answer, before the request's own limit
        self.cached_share = 0.0  # of prompt tokens that the provider reads from its cache
        self.failure_share = 0.0
        self.failed_cost = 0.0  # pico-USD that a failed attempt has cost on average
        self.in_flight = 0
        self.sampled_in_flight = 0.0  # mean number under way when the TTFT samples were taken
        self.last_dispatch = 0  # order number of the latest attempt; negative, in catalogue order, before the first
        self.samples = 0.0  # effective number of observations behind the predictions
        self.age_s: float | None = None  # since the last answer; None: there was none
        self.log_ttft_error = 0.0
        self.log_rate_error = 0.0
        self.version = -1
        self.fresh_until_s = float("-inf")

"""Python's garbage collector, as it is while many requests are served.

What is loaded by then (recordings, libraries) stays: walking through it takes a tenth of a second each time, in which
no chunk is on time. And requests make objects by the thousand, nearly all of which die by themselves: to look for those
that do not after every 700 of them, as Python does, costs a twentieth of all time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_NEW_OBJECTS: Final = 10_000  # after which the young ones are looked through: less than a millisecond
_YOUNGER: Final = 20  # collections of a generation before the next older one's turn


@contextmanager
def uncollected() -> Iterator[None]:
    """What is loaded by now is left out of garbage collection meanwhile, and what comes is looked at seldom."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNGER, _YOUNGER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()

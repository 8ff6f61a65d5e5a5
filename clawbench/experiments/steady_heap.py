"""A heap that no full garbage collection walks: what was prepared lives until the end, looking at it again is a stall.

A collection of the oldest generation visits every object of the process: recordings, catalogue and libraries are
hundreds of thousands, and for 30 to 100 ms nobody is served. It shows in wall time only, so virtual runs do without.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def steady_heap() -> Iterator[None]:
    """While the block runs, collections look only at what was made in it; afterwards at everything again."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

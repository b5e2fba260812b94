"""Pictures loaded ahead of the model that wants them, by threads.

Pillow lets go of the interpreter's lock while it decodes and resizes, so that threads run side by
side and beside the vision tower.  What comes out, and in which order, does not depend on them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

MOST_WORKERS = 8


def workers() -> int:
    """How many threads decode: the processors this process may use, at most eight."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        processors = os.cpu_count() or 1
    return min(MOST_WORKERS, processors)


def ahead(
    work: Callable[[Part], Result], parts: Iterable[Part], threads: int | None = None
) -> Iterator[Result]:
    """``work`` of every part, in the order of the parts, computed by ``threads`` ahead of the
    reader.  At most two results a thread are finished or under way beyond the one being read."""
    threads = threads or workers()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="mfv-data") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()

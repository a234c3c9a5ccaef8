"""Threads for work that waits for files, ended when nobody wants its results any more."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

MOST = 16
"""Most threads that read files at a time; fewer where there are fewer processors."""


@contextmanager
def threads(n: int = min(MOST, os.cpu_count() or 1)) -> Iterator[Executor]:
    """Lend ``n`` threads; on the way out, after an exception too, what has not begun is dropped."""
    executor = ThreadPoolExecutor(n)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)

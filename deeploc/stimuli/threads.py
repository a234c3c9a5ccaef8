"""Threads for work that waits for files; after an exception they do not outlive their user."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

MAX_THREADS = 16
"""Most threads that read files at a time; fewer where there are fewer processors."""


@contextmanager
def threads(n: int = min(MAX_THREADS, os.cpu_count() or 1)) -> Iterator[Executor]:
    """Provide ``n`` threads; on exit, even by an exception, work that has not begun is dropped."""
    executor = ThreadPoolExecutor(n)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)

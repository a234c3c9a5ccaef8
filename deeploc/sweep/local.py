"""The engine ``local``: processes on this machine, as many as memory and processors allow."""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from deeploc.sweep.memory import available, gpus, processors
from deeploc.sweep.work import TICK, CellResult, OnEvent, StillRunning, Work, results_of

Need = Callable[[Work], int | None]
"""Return how many bytes of memory a worker needs, None where that is not known."""

_SPARE = 0.9
"""The share of the free memory that workers may be expected to take."""


class LocalEngine:
    """Runs every model in a process of its own, so that its memory is free again afterwards.

    A worker whose process is killed is started again and goes on with the cell that it was at.

    Parameters
    ----------
    jobs
        At most so many processes at once; None: one per processor, or per GPU where there are.
    retries
        How often a cell is tried again whose process was killed.
    need
        How much memory a worker needs; where that is not known, nothing runs beside it.
    """

    def __init__(self, jobs: int | None, retries: int, need: Need) -> None:
        self._jobs = jobs
        self._retries = retries
        self._need = need

    def run(self, parts: Sequence[Work], on_event: OnEvent) -> None:
        """Run all cells; an interrupt ends the workers.

        Parameters
        ----------
        parts
            The cells, by model.
        on_event
            Told about every cell.
        """
        devices = gpus() if any(map(_takes_gpu, parts)) else []
        jobs = min(self._jobs or len(devices) or processors(), len(parts))
        if jobs > 1:
            parts = [replace(part, memory=self._need(part)) for part in parts]
        pool = _Pool(jobs, devices if jobs > 1 else [], self._retries, deque(parts))
        try:
            while pool.waiting or pool.running:
                pool.start()
                pool.listen(on_event)
        finally:
            pool.end()


@dataclass
class _Worker:
    """A process, what it works on, and which of that is finished."""

    process: BaseProcess
    connection: Connection
    work: Work
    gpu: str
    finished: list[int] = field(default_factory=list)


@dataclass
class _Pool:
    """The workers that run, and what waits for one; ``tries`` counts the ends of a cell."""

    jobs: int
    devices: Sequence[str]
    retries: int
    waiting: deque[Work]
    running: list[_Worker] = field(default_factory=list)
    tries: Counter[int] = field(default_factory=Counter)
    free: int | None = field(default_factory=available)

    def start(self) -> None:
        """Start as many workers as there is room for."""
        while self.waiting and len(self.running) < self.jobs and self._fits(self.waiting[0]):
            work = self.waiting.popleft()
            taken = [worker.gpu for worker in self.running]
            fewest = min(self.devices, key=taken.count, default="")
            self.running.append(_started(work, fewest if _takes_gpu(work) else "", self.jobs))

    def listen(self, on_event: OnEvent) -> None:
        """Wait for the workers, and pass on what they tell."""
        ready = wait([worker.connection for worker in self.running], TICK)
        if not ready:
            on_event(StillRunning())
        for worker in [each for each in self.running if each.connection in ready]:
            if not _told(worker, on_event):
                self.running.remove(worker)
                self._go_on(worker, on_event)

    def end(self) -> None:
        """End the workers that still run."""
        for worker in self.running:
            worker.process.kill()
            worker.process.join()

    def _fits(self, work: Work) -> bool:
        if not self.running or self.free is None:
            return True
        wanted = [work.memory, *(worker.work.memory for worker in self.running)]
        known = [need for need in wanted if need is not None]
        return len(known) == len(wanted) and sum(known) <= _SPARE * self.free

    def _go_on(self, worker: _Worker, on_event: OnEvent) -> None:
        """Let the cells wait again that an ended worker has not finished, or give one up."""
        worker.process.join()
        worker.connection.close()
        left = worker.work.without(worker.finished)
        if not left.cells:
            return
        number = left.cells[0].number
        self.tries[number] += 1
        if self.tries[number] > self.retries:
            on_event(CellResult(number, "failed", error=_ended(worker.process.exitcode)))
            left = left.without([number])
        if left.cells:
            self.waiting.appendleft(left)


def _started(work: Work, gpu: str, jobs: int) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would share threads and the GPU
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_worker, args=(work, sending), daemon=True)
    with _environment(_shares(jobs, gpu)):
        process.start()
    sending.close()
    return _Worker(process, receiving, work, gpu)


def _worker(work: Work, connection: Connection) -> None:
    """Run cells in this process; the one that started it handles interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for event in results_of(work):
            connection.send(event)
    except BrokenPipeError:  # nobody is left to be told
        return


def _told(worker: _Worker, on_event: OnEvent) -> bool:
    """Pass on what a worker has to tell; return whether it is still there."""
    try:
        event = worker.connection.recv()
    except (EOFError, OSError):
        return False
    if isinstance(event, CellResult):
        worker.finished.append(event.number)
    on_event(event)
    return True


def _takes_gpu(work: Work) -> bool:
    """Return whether a worker may be given any of the GPUs."""
    model = work.cells[0].setup.model
    return model.device in ("auto", "cuda") and model.device_map is None


def _shares(jobs: int, gpu: str) -> dict[str, str]:
    """Return the environment of a worker: its part of the processors, its GPU."""
    threads = {"OMP_NUM_THREADS": str(max(processors() // jobs, 1))} if jobs > 1 else {}
    return {**threads, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that the user has not, for the processes that are started inside."""
    new = {k: v for k, v in values.items() if k not in os.environ or k == "CUDA_VISIBLE_DEVICES"}
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ended(code: int | None) -> str:
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    why = "; out of memory? try fewer --jobs" if code == -signal.SIGKILL else ""
    return f"its process ended {how}{why}"

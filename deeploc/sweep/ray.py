"""The engine ``ray``: workers on a cluster of Ray, or on this machine where there is none.

Every worker must see the same files as this process: the sweep folder, models, stimuli and the
cache are on a file system that all machines share, and deeploc is installed on each.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from typing import Any

from deeploc.errors import SweepError
from deeploc.sweep.fields import Resources
from deeploc.sweep.work import TICK, CellResult, Event, OnEvent, StillRunning, Work, results_of


class RayEngine:
    """Runs cells as tasks of Ray, one task per model and worker.

    A task that is killed with its worker is started again by Ray, at most ``retries`` times; the
    cells that it had finished are then found in their folders, and it goes on with the next.

    Parameters
    ----------
    resources
        What a worker needs.
    retries
        How often a task is tried again whose worker was killed.
    """

    def __init__(self, resources: Resources, retries: int) -> None:
        self._resources = resources
        self._retries = retries

    def run(self, parts: Sequence[Work], on_event: OnEvent) -> None:
        """Run all cells; an interrupt cancels the tasks.

        Parameters
        ----------
        parts
            The cells, by model.
        on_event
            Told about every cell.

        Raises
        ------
        SweepError
            If Ray is not installed, no cluster can be joined or started, or none of its machines
            has what a worker needs.
        """
        ray = require_ray("--engine ray")
        with cluster(ray):
            slots = self._slots(ray)
            tasks = _Tasks(ray, self._task(ray))
            try:
                for part in spread_over(parts, slots):
                    tasks.submit(part)
                while tasks.running:
                    tasks.listen(on_event)
            finally:
                tasks.cancel()

    def _task(self, ray: Any) -> Any:
        wanted = self._resources
        return ray.remote(
            num_cpus=wanted.cpus,
            num_gpus=wanted.gpus,
            memory=wanted.bytes,
            max_retries=self._retries,
            num_returns="streaming",
        )(unwrap(_worker))  # Ray looks for `yield`, which a decorator of tests would hide

    def _slots(self, ray: Any) -> int:
        """Return how many workers the cluster holds at once."""
        wanted = {
            "CPU": self._resources.cpus,
            "GPU": self._resources.gpus,
            "memory": self._resources.bytes or 0,
        }
        needed = {name: amount for name, amount in wanted.items() if amount}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        fitting = [
            min(int(node.get(name, 0) // amount) for name, amount in needed.items())
            for node in nodes
        ]
        if not sum(fitting):
            asked = ", ".join(f"{name} {amount:g}" for name, amount in needed.items())
            raise SweepError(
                f"no machine of the Ray cluster has what one worker needs ({asked}); lower "
                "`resources` in the sweep file, e.g. --set resources.cpus=1"
            )
        return sum(fitting)


class _Tasks:
    """The tasks that run, each with what it works on and which of that is finished."""

    def __init__(self, ray: Any, task: Any) -> None:
        self._ray, self._task = ray, task
        self.running: dict[Any, tuple[Work, list[int]]] = {}

    def submit(self, work: Work) -> None:
        """Start a task."""
        self.running[self._task.remote(work, str(Path.cwd()))] = (work, [])

    def listen(self, on_event: OnEvent) -> None:
        """Wait for the tasks, and pass on what one of them tells."""
        ready, _ = self._ray.wait(list(self.running), num_returns=1, timeout=TICK)
        if not ready:
            on_event(StillRunning())
        for stream in ready:
            try:
                event = self._ray.get(next(stream))
            except StopIteration:
                del self.running[stream]
                continue
            except self._ray.exceptions.RayError as error:
                self._give_up(stream, error, on_event)
                continue
            if isinstance(event, CellResult):
                self.running[stream][1].append(event.number)
            on_event(event)

    def cancel(self) -> None:
        """End the tasks that still run."""
        for stream in self.running:
            self._ray.cancel(stream, force=True)

    def _give_up(self, stream: Any, error: Exception, on_event: OnEvent) -> None:
        """Count the cell as failed that a task was at, and let the others wait again."""
        work, finished = self.running.pop(stream)
        left = work.without(finished)
        if not left.cells:
            return
        number = left.cells[0].number
        reason = str(error).strip().splitlines()[0][:300]
        on_event(CellResult(number, "failed", error=f"{type(error).__name__}: {reason}"))
        if (rest := left.without([number])).cells:
            self.submit(rest)


def _worker(work: Work, folder: str) -> Iterator[Event]:
    """Run cells in a process of Ray, in the folder in which the sweep was started."""
    os.chdir(folder)
    yield from results_of(work)


def spread_over(parts: Sequence[Work], slots: int) -> list[Work]:
    """Return the cells in at least as many parts as workers can run at once, if there are so many.

    The cells of one model stay together as far as they can: each part loads it.

    Parameters
    ----------
    parts
        The cells, by model.
    slots
        How many workers can run at once.
    """
    spread = list(parts)
    while len(spread) < slots:
        largest = max(spread, key=lambda part: len(part.cells))
        n = len(largest.cells)
        if n < 2:
            break
        spread.remove(largest)
        first = largest.without([cell.number for cell in largest.cells[n // 2 :]])
        spread += [first, largest.without([cell.number for cell in first.cells])]
    return spread


@contextmanager
def cluster(ray: Any) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names or that runs here, else start one of this machine.

    Parameters
    ----------
    ray
        The package.

    Raises
    ------
    SweepError
        If the cluster of RAY_ADDRESS cannot be joined.
    """
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    is_joined = ray.is_initialized()
    if not is_joined:
        try:
            ray.init(address="auto", **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if address := os.environ.get("RAY_ADDRESS"):
                reason = " ".join(str(error).split())[:200]
                raise SweepError(
                    f"the Ray cluster at {address} (RAY_ADDRESS) cannot be joined: {reason}; "
                    "start it with `ray start --head`, or unset RAY_ADDRESS"
                ) from None
            ray.init(include_dashboard=False, **quiet)
    try:
        yield
    finally:
        if not is_joined:
            ray.shutdown()


def require_ray(what: str) -> Any:
    """Return the package ray.

    Parameters
    ----------
    what
        What needs it, for messages.

    Raises
    ------
    SweepError
        If it is not installed.
    """
    try:
        return import_module("ray")
    except ImportError:
        raise SweepError(
            f"{what} needs the package ray; install it with `pip install 'deeploc[ray]'`, or do "
            "without that option"
        ) from None

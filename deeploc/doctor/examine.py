"""Examine an installation: everything at a time, within a time limit."""

import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from threading import Thread
from typing import Any, Generic, TypeVar

from deeploc.doctor import caches as _caches
from deeploc.doctor import devices as _devices
from deeploc.doctor import hub as _hub
from deeploc.doctor import packages as _packages
from deeploc.doctor import plugins as _plugins
from deeploc.doctor.problems import Problem

Value = TypeVar("Value")

PATIENCE = 4.0
"""Seconds for torch and for the hub, which are waited for at the same time."""

_COUNTING = 1.5
"""Seconds for counting the files of the caches."""


@dataclass(frozen=True)
class Examination:
    """What was found.

    Parameters
    ----------
    python, platform
        The version of Python, and the system that it runs on.
    executable
        The interpreter.
    deeploc
        The version of deeploc; None: it runs without being installed.
    packages, extras, devices, caches, plugins, hub
        See the modules of these names.
    free
        Bytes that are free where runs are written, in the current folder; None where the disk
        does not tell.
    """

    python: str
    platform: str
    executable: str
    deeploc: str | None
    packages: tuple[_packages.Package, ...]
    extras: tuple[_packages.Extra, ...]
    devices: _devices.Devices
    caches: tuple[_caches.Cache, ...]
    plugins: _plugins.Plugins
    hub: _hub.Hub
    free: int | None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong, what is broken first."""
        return tuple(sorted(self._problems(), key=lambda problem: not problem.broken))

    def _problems(self) -> Iterator[Problem]:
        if self.deeploc is None:
            yield Problem(
                "deeploc is not installed, so that its adapters and tasks are not found",
                "pip install deeploc, or pip install -e . in a checkout",
            )
        yield from _packages.problems(self.packages, self.extras)
        yield from _devices.problems(self.devices)
        yield from _caches.problems(self.caches)
        yield from _plugins.problems(self.plugins)
        yield from _hub.problems(self.hub)
        if self.free is not None and self.free < _caches.LEAST_FREE:
            yield Problem(
                f"only {_caches.size_text(self.free)} are free in the current folder, where runs "
                "are written",
                "write runs to another disk with -o",
                broken=False,
            )

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        fields = asdict(self)
        for extra, found in zip(fields["extras"], self.extras, strict=True):
            extra |= {"complete": found.is_complete, "install": found.install}
        return {**fields, "problems": [asdict(problem) for problem in self.problems]}


def examine(*, offline: bool = False) -> Examination:
    """Return what is installed, which devices there are, and whether caches and hub can be used.

    Parameters
    ----------
    offline
        Whether the hub is not asked.
    """
    deadline = time.monotonic() + PATIENCE
    address = _hub.address_of_hub()
    unanswered = _hub.Hub(address, "unreachable", reason=f"no answer within {PATIENCE:g} s")
    hub = _Later(lambda: _hub.ask_hub(PATIENCE, skip=offline), unanswered)
    none: tuple[_caches.Cache, ...] = ()
    counted = _Later(lambda: _caches.caches(_COUNTING), none)
    devices = _devices.ask_torch(PATIENCE)
    return Examination(
        platform.python_version(),
        f"{platform.system()} {platform.release()} {platform.machine()}",
        sys.executable,
        _packages.installed_version("deeploc"),
        _packages.required(),
        _packages.extras(),
        devices,
        counted.result(2 * _COUNTING),
        _plugins.plugins(),
        hub.result(max(deadline - time.monotonic(), 0.1)),
        _free(),
    )


class _Later(Generic[Value]):
    """A value that a thread is asked for, and what stands for it if it does not come in time.

    The thread does not keep the process from ending: the name of a host may be looked up for
    longer than any time-out.
    """

    def __init__(self, ask: Callable[[], Value], otherwise: Value) -> None:
        self._value = otherwise
        self._thread = Thread(target=self._run, args=(ask,), daemon=True)
        self._thread.start()

    def _run(self, ask: Callable[[], Value]) -> None:
        self._value = ask()

    def result(self, timeout: float) -> Value:
        self._thread.join(timeout)
        return self._value


def _free() -> int | None:
    try:
        return shutil.disk_usage(".").free
    except OSError:
        return None

"""Which devices torch can compute on, asked in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deeploc.doctor.problems import Problem

PROBE = "deeploc.adapters._torch.devices"
"""Run, not imported: torch may take long to import, fail, or end the process."""

_DRIVER = Path("/proc/driver/nvidia/version")

State = Literal["ok", "missing", "slow", "broken"]


@dataclass(frozen=True)
class Device:
    """Something to compute on.

    Parameters
    ----------
    device
        What ``--device`` calls it.
    name
        What its maker calls it; may be empty.
    memory
        In bytes; None where it cannot be told.
    """

    device: str
    name: str = ""
    memory: int | None = None


@dataclass(frozen=True)
class Devices:
    """What torch tells.

    Parameters
    ----------
    state
        ``ok``; ``missing``: torch is not installed; ``slow``: not all was told in time;
        ``broken``: torch cannot be imported.
    devices
        Those that it can compute on; the CPU is the last, and always there.
    threads
        How many the CPU is computed with; None where torch does not tell.
    cores
        How many cores this process may use.
    built_for_cuda
        The CUDA that torch was built for; None: it was built without.
    reason
        The last line of the error, if it is broken.
    """

    state: State
    devices: Sequence[Device]
    cores: int
    threads: int | None = None
    built_for_cuda: str | None = None
    reason: str = field(default="")


def ask_torch(timeout: float) -> Devices:
    """Return the devices.

    Parameters
    ----------
    timeout
        Seconds after which torch is waited for no longer; what it told until then is used.
    """
    from deeploc.doctor.packages import installed_version

    if installed_version("torch") is None:
        return _devices("missing", [])
    command = [sys.executable, "-m", PROBE]
    search = os.pathsep.join(path for path in sys.path if path)  # a checkout is not installed
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search, "PYTHONWARNINGS": "ignore"},
    ) as process:
        state: State = "ok"
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            state = "slow"
    if state == "ok" and process.returncode != 0:
        state = "broken"
    return _devices(state, _parsed(out), _last_line(err, process.returncode))


def problems(found: Devices) -> Iterator[Problem]:
    """Yield what keeps torch from computing, or from a GPU that is there.

    Parameters
    ----------
    found
        What torch told; that it is not installed is told with the packages.
    """
    if found.state == "broken":
        yield Problem(
            f"torch cannot be imported or cannot ask its devices: {found.reason}",
            "pip install --force-reinstall torch torchvision, or see https://pytorch.org",
        )
    if found.state == "slow":
        yield Problem(
            "torch did not tell its devices in time",
            "run deeploc doctor again; the first import after an installation is slow",
            broken=False,
        )
    has_gpu = any(device.device.startswith("cuda") for device in found.devices)
    if found.state == "ok" and _DRIVER.exists() and not has_gpu:
        built = f"is for CUDA {found.built_for_cuda}" if found.built_for_cuda else "is without CUDA"
        yield Problem(
            f"there is an NVIDIA driver, but this torch {built} and sees no GPU",
            "choose the torch for your driver at https://pytorch.org/get-started/locally",
            broken=False,
        )


def _devices(state: State, parts: Sequence[Mapping[str, Any]], error: str = "") -> Devices:
    devices = [Device(**part) for part in parts if "device" in part]
    about: Mapping[str, Any] = next((part for part in parts if "torch" in part), {})
    cpu = Device("cpu", memory=_memory())
    return Devices(
        state,
        (*devices, cpu),
        _cores(),
        threads=about.get("threads"),
        built_for_cuda=about.get("built_for_cuda"),
        reason=error if state == "broken" else "",
    )


def _parsed(output: bytes) -> list[dict[str, Any]]:
    """Return the complete lines."""
    return [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith(b"\n")]


def _last_line(error: bytes, code: int) -> str:
    lines = error.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"the process ended with code {code}"


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _memory() -> int | None:
    """Return the bytes of main memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None

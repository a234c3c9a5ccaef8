"""What this machine has for workers: memory, processors, GPUs."""

import os
import re
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Return how many bytes of memory are free, None where the system does not say."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return _physical()
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    free = [int(found[1]) * 1024] if found else []
    return min([*free, *_of_container()], default=None)


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """Return the CUDA devices that a worker may be given, as CUDA_VISIBLE_DEVICES names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    devices = [path.name for path in Path("/dev").glob("nvidia[0-9]*")]
    return [str(number) for number in range(len(devices))]


def _of_container() -> list[int]:
    """Return what the limit of a container leaves; what files are cached in is free, too."""
    try:
        limit, used, stat = (
            (_CGROUP / name).read_text(encoding="ascii").strip()
            for name in ("memory.max", "memory.current", "memory.stat")
        )
    except OSError:
        return []
    cached = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)
    if not limit.isdecimal() or not cached:
        return []
    return [max(int(limit) - int(used) + int(cached[1]), 0)]


def _physical() -> int | None:
    """Return half of the memory of the machine, where no more is known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None

"""Sweep on a Ray cluster of two workers, kill one in the middle, compare every cell with its run.

    python scripts/ray_sweep.py

Two bundled models x three contrasts x two seeds; ends with exit code 1 if a file of a cell is not,
byte for byte, that of the same command by hand.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import ray

from deeploc.sweep.cells import cells_of
from deeploc.sweep.file import load
from deeploc.sweep.ray import RayEngine
from deeploc.sweep.sweeping import run_sweep
from deeploc.sweep.work import Event, Started

SWEEP = {
    "name": "ray",
    "title": "Two models, three contrasts, two seeds",
    "models": ["reference:lm", {"model": "reference:lm", "untrained": True}],
    "contrasts": ["language", "multiple-demand", "theory-of-mind"],
    "seeds": [0, 1],
    "limit": 8,
    "set": {"ablate": {"controls": {"random": 1}}, "read.sites": "block"},
}
KILLED = 3
"""The number of the cell whose worker is killed when it begins."""


class KillsOne(RayEngine):
    """The engine, with one worker killed."""

    killed = 0

    def run(self, parts, on_event):
        """Run all cells."""

        def told(event: Event) -> None:
            if isinstance(event, Started) and event.number == KILLED and not self.killed:
                self.killed = event.pid
                os.kill(event.pid, signal.SIGKILL)
            on_event(event)

        super().run(parts, told)


def main() -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = Path(tempfile.mkdtemp())
    path, out = folder / "ray.yaml", folder / "out"
    path.write_text(json.dumps(SWEEP))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    sweep = load(path)
    engine = KillsOne(sweep.resources, sweep.retries)
    record = run_sweep(sweep, cells_of(sweep, out), out, engine)
    ray.shutdown()
    kept, wrong = out.rename(folder / "kept"), 0
    for cell in record.cells:
        command = [sys.executable, "-m", *shlex.split(cell.command)]
        subprocess.run(command, check=True, capture_output=True)
        names = sorted(file.name for file in (out / cell.folder).iterdir())
        same = all((out / cell.folder / n).read_bytes() == (kept / cell.folder / n).read_bytes()
                   for n in names if n != ".lock")  # fmt: skip
        print(f"{cell.status:8} {'same' if same else 'DIFFERS':8} {cell.folder}", flush=True)
        wrong += not same
    print(f"worker {engine.killed} was killed; {len(record.cells)} cells, {wrong} differ")
    shutil.rmtree(folder)
    sys.exit(1 if wrong or not engine.killed else 0)


if __name__ == "__main__":
    main()

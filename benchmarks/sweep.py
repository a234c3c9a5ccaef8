"""What a sweep costs beyond its runs: the same cells swept and by hand.

Two bundled models x two contrasts x two seeds, one process at a time:

    python benchmarks/sweep.py --limit 40

(a) the commands of the cells, one process each; (b) all cells in one process that loads each model
once, without a sweep; (c) the sweep. Reported are seconds on the wall and of the processors (those
of all child processes), and how many files are the same in (a) and (c). What to expect: (c) takes
at most 1.10 times (a). It takes less, since libraries and models are loaded once per model, and
more than (b) by the start of a process per model.
"""

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CELLS = """\
import sys
from pathlib import Path
from deeploc.sweep.cells import cells_of, groups_of
from deeploc.sweep.file import load
from deeploc.sweep.work import Work, results_of
for group in groups_of(cells_of(load(sys.argv[1]), Path(sys.argv[2]))):
    for result in results_of(Work(group.cells)):
        pass
"""


def write_sweep(folder: Path, limit: int) -> Path:
    """Write the sweep that is measured."""
    path = folder / "cost.yaml"
    values = {
        "name": "cost",
        "title": "What a sweep costs",
        "models": ["reference:lm", {"model": "reference:lm", "untrained": True}],
        "contrasts": ["language", "multiple-demand"],
        "seeds": [0, 1],
        "limit": limit,
        "set": {"ablate.controls.random": 5},
    }
    path.write_text(json.dumps(values))
    return path


def measured(*commands: list[str]) -> tuple[float, float]:
    """Return the seconds on the wall and of the processors that commands take in turn."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the files of the runs in a folder of a sweep."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("*/*") if p.is_file()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=int, default=40)
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    folder = Path(tempfile.mkdtemp())
    path, out = write_sweep(folder, parser.parse_args().limit), folder / "out"
    deeploc = [sys.executable, "-m", "deeploc"]
    swept = measured([*deeploc, "sweep", str(path), "-o", str(out), "--jobs", "1", "-q"])
    files = files_of(out)
    cells = json.loads((out / "sweep.json").read_text())["cells"]
    shutil.rmtree(out)
    by_hand = measured(*([*deeploc, *shlex.split(cell["command"])[1:]] for cell in cells))
    same = {name for name, content in files_of(out).items() if files.get(name) == content}
    shutil.rmtree(out)
    together = measured([sys.executable, "-c", CELLS, str(path), str(out)])
    for label, (wall, used) in (("(a)", by_hand), ("(b)", together), ("(c)", swept)):
        print(f"{label} {wall:7.1f} s on the wall, {used:7.1f} s of the processors")
    print(f"(c) / (a): {swept[1] / by_hand[1]:.2f}; (c) / (b): {swept[1] / together[1]:.2f}")
    print(f"{len(same)} of {len(files)} files are the same by hand and swept")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()

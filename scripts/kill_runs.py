"""Kill real runs at random moments, resume them, and compare every file with an undisturbed run.

    python scripts/kill_runs.py --kills 200

Text (`language` on reference:lm) and images (`faces-rendered` on reference:cnn) alternate. Each run
is killed with SIGKILL, SIGTERM or SIGINT until one attempt outlives its delay; then its files must
be those of the undisturbed run, byte for byte, the manifest and the report included. After every
kill the folder must be readable, and no score in it may differ from the undisturbed run. Attempts
are forked from one process that has imported everything, so that the kills hit the work and not the
imports. Needs Linux or macOS.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of the parent do not survive a fork
os.environ["SOURCE_DATE_EPOCH"] = "1000000000"  # the date in the manifest is the only other input

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
RUNS = {
    "text": ["run", "language", "-m", "reference:lm", "--limit", "24"],
    "image": ["run", "faces-rendered", "-m", "reference:cnn", "--limit", "12", "--sites", "block"],
}
SHORT = ["--percent", "5", "--controls", "5", "--mode", "zero"]
"""Few ablations: the stages before them are to be hit as often as they are."""


@dataclass
class Attempts:
    """What happened to the runs of one kind."""

    kind: str
    folder: Path
    duration: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    finished: int = 0

    @property
    def whole(self) -> Path:
        """The folder of the undisturbed run."""
        return self.folder / "whole" / "run"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(RUNS), default=list(RUNS))
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    import_everything()
    with tempfile.TemporaryDirectory() as folder:
        attempts = [undisturbed(kind, Path(folder) / kind) for kind in options.kinds]
        number = 0
        while sum(sum(each.kills.values()) for each in attempts) < options.kills:
            kill_one_run(attempts[number % len(attempts)], number, rng)
            number += 1
    for each in attempts:
        signals = ", ".join(f"{n} {name}" for name, n in sorted(each.kills.items()))
        stages = ", ".join(f"{n} {name}" for name, n in each.stages.most_common())
        print(
            f"{each.kind}: {sum(each.kills.values())} kills ({signals}) in {each.finished} runs of "
            f"{each.duration:.1f} s; killed before the end of: {stages}; every file as undisturbed"
        )
    return 0


def import_everything() -> None:
    """Import what a run needs, in this process."""
    import torch

    torch.set_num_threads(1)
    names = ("cli.run", "experiment", "adapters.hf", "adapters.timm", "adapters.reference")
    for name in names:
        import_module(f"deeploc.{name}")
    for name in ("transformers", "timm", "matplotlib.figure", "sklearn.linear_model"):
        import_module(name)


def undisturbed(kind: str, folder: Path) -> Attempts:
    """Make the run that the others are compared with."""
    attempts = Attempts(kind, folder)
    started = time.monotonic()
    status = os.waitpid(start(kind, attempts.whole.parent), 0)[1]
    if status:
        raise SystemExit(f"the undisturbed {kind} run failed:\n{log_of(attempts.whole.parent)}")
    attempts.duration = time.monotonic() - started
    return attempts


def kill_one_run(attempts: Attempts, number: int, rng: random.Random) -> None:
    """Kill and resume one run until it finishes; then compare its files."""
    place = attempts.folder / f"{number}"
    while True:
        child = start(attempts.kind, place)
        died = wait(child, rng.uniform(0.0, 1.1 * attempts.duration))
        if died is not None:
            break
        chosen = rng.choice(SIGNALS)
        os.kill(child, chosen)
        os.waitpid(child, 0)
        stage = check_interrupted(place / "run", attempts.whole)
        if stage == "none":  # it had finished: what is killed now would only look at its files
            died = os.waitpid(start(attempts.kind, place), 0)[1]
            break
        attempts.kills[chosen.name] += 1
        attempts.stages[stage] += 1
    if died:
        raise SystemExit(f"a resumed run failed:\n{log_of(place)}")
    attempts.finished += 1
    check_finished(place / "run", attempts.whole)


def start(kind: str, place: Path) -> int:
    """Start an attempt in a child process; return its number."""
    place.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        # a shell's background jobs inherit that SIGINT is ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(place)
        sys.argv = ["deeploc", *RUNS[kind], *SHORT, "-o", "run"]
        import_module("deeploc.cli").main(standalone_mode=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """Return the exit status of a child, None if it outlives ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.005)
    return None


def check_interrupted(folder: Path, whole: Path) -> str:
    """Check what a killed run shows; return the first stage that it has not finished, or none."""
    from deeploc.core.results import Score
    from deeploc.runs.folder import RunFolder
    from deeploc.runs.saved_run import load_run

    def measured(row: Score) -> tuple[str, ...]:
        return (row.task, row.metric, row.condition, row.task_key, row.key)

    if not RunFolder(folder).exists():
        return "audit"
    run = load_run(folder)
    known = {measured(row): row.value for row in load_run(whole).scores}
    for row in run.scores:
        if known[measured(row)] != row.value:
            raise SystemExit(f"{folder}: {row} is not what the undisturbed run measured")
    stages = (
        "audit",
        "localize",
        "select",
        "profile",
        "driving",
        "reliability",
        "untrained",
        "evaluate",
        "verdict",
        "report",
    )
    records = {stage: run.manifest.get(stage) for stage in stages}
    return next((s for s, record in records.items() if not (record or {}).get("complete")), "none")


def check_finished(folder: Path, whole: Path) -> None:
    """Compare every file of a run with those of the undisturbed one."""
    ours, theirs = contents(folder), contents(whole)
    different = sorted(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    if different:
        raise SystemExit(f"{folder} differs from the undisturbed run in {', '.join(different)}")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def log_of(place: Path) -> str:
    return (place / "log").read_text(errors="replace")[-2000:]


if __name__ == "__main__":
    sys.exit(main())

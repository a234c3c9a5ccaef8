"""The engine Ray: a cluster of two workers, one of which is killed in the middle."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc.cli import main
from deeploc.core.units import VECTORS
from deeploc.errors import SweepError
from deeploc.runs.saved_run import load_run
from deeploc.sweep.cells import cells_of, groups_of
from deeploc.sweep.fields import Resources
from deeploc.sweep.file import load
from deeploc.sweep.ray import RayEngine, spread_over
from deeploc.sweep.work import CellResult, Event, Started, Work, results_of

from .test_sweep import files_of, write_sweep

ray = pytest.importorskip("ray", reason="needs ray: pip install 'deeploc[ray]'")
pytestmark = pytest.mark.filterwarnings("default")  # those of Ray are its own


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start a cluster with room for two workers on this machine."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        patch.setenv("OMP_NUM_THREADS", "1")
        ray.init(num_cpus=2, **quiet)
        yield
        ray.shutdown()


@pytest.mark.slow
def test_cells_of_a_cluster_are_those_by_hand_although_a_worker_is_killed(
    cluster: None, tiny_lm: Path, shared_contrast: Path, tmp_path: Path
) -> None:
    """Ray starts the task again, which goes on with the cell that it was at."""
    del cluster
    contrasts = [str(shared_contrast)]
    path = write_sweep(tmp_path, tiny_lm, shared_contrast, contrasts=contrasts)
    cells = cells_of(load(path), tmp_path / "out")
    events: list[Event] = []

    def kill_one(event: Event) -> None:
        is_first = not any(isinstance(each, Started) and each.number == 1 for each in events)
        events.append(event)
        if isinstance(event, Started) and event.number == 1 and is_first:
            os.kill(event.pid, signal.SIGKILL)

    parts = [Work(group.cells) for group in groups_of(cells)]
    RayEngine(Resources(), retries=2).run(parts, kill_one)
    results = {each.number: each for each in events if isinstance(each, CellResult)}

    assert sorted(results) == [0, 1, 2, 3]
    assert {each.status for each in results.values()} <= {"done", "reused"}
    assert len({each.pid for each in events if isinstance(each, Started)}) >= 2
    for cell in cells:
        there = files_of(cell.folder)
        cell.folder.rename(tmp_path / f"of-ray-{cell.number}")
        list(results_of(Work((cell,))))
        assert files_of(cell.folder) == there


def test_too_large_a_worker_is_one_line(cluster: None) -> None:
    """It names what no machine has."""
    del cluster
    with pytest.raises(SweepError, match=r"no machine of the Ray cluster has.*CPU 64"):
        RayEngine(Resources(cpus=64), retries=0).run([], lambda _: None)


def test_cells_are_spread_over_the_workers(tiny_lm: Path, contrast_file: Path) -> None:
    """As many parts as workers, each of one model, no cell twice."""
    path = write_sweep(contrast_file.parent, tiny_lm, contrast_file)
    parts = [Work(group.cells) for group in groups_of(cells_of(load(path), Path("out")))]
    spread = spread_over(parts, 5)

    assert len(spread) == 5
    assert sorted(cell.number for part in spread for cell in part.cells) == list(range(8))
    assert all(len({cell.model for cell in part.cells}) == 1 for part in spread)


@pytest.mark.slow
def test_a_sharded_localization_is_the_whole_one(
    cluster: None, tiny_lm: Path, shared_contrast: Path, tmp_path: Path
) -> None:
    """To 1e-12, where activations do not depend on the batch; the manifest is the same run's."""
    del cluster
    options = ["-m", f"hf:{tiny_lm}", "--batch-size", "1", "-q"]
    for name, more in (("whole", []), ("sharded", ["--shards", "2"])):
        command = ["localize", str(shared_contrast), *options, "-o", str(tmp_path / name), *more]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    whole, sharded = (load_run(tmp_path / name).stat_map for name in ("whole", "sharded"))

    for name in VECTORS:
        one, other = getattr(whole, name), getattr(sharded, name)
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
    assert np.array_equal(
        load_run(tmp_path / "whole").mask.selected, load_run(tmp_path / "sharded").mask.selected
    )

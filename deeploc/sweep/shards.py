"""One localization over several workers of Ray: each reads a part of the stimuli.

Moments are reduced where the stimuli are read, and merged by `deeploc.core.stats.Moments.merged`. A
model whose activations depend on the other stimuli of a batch (float32, padding) gives statistics
that differ as they do between batch sizes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from inspect import unwrap
from pathlib import Path
from typing import Any

from deeploc import plugins
from deeploc.analysis.comparing import needs_activations
from deeploc.analysis.localization import ReadMoments, layout_of, read_moments, stat_map_of
from deeploc.analysis.reading import ByCondition
from deeploc.contrast.model import Contrast
from deeploc.core.adapter import Adapter
from deeploc.core.units import StatMap
from deeploc.entry_points import given_files, without_files
from deeploc.errors import DeeplocError, SweepError
from deeploc.runs.run import Run
from deeploc.runs.setup import Setup
from deeploc.stimuli import Stimulus
from deeploc.sweep.ray import cluster, require_ray

Parts = Mapping[str, Sequence[Stimulus]]


@dataclass(frozen=True)
class Shard:
    """A part of the stimuli, and what is needed to read it elsewhere.

    Parameters
    ----------
    contrast, setup
        Those of the run.
    stimuli
        Condition -> its stimuli in this part; may be none.
    plugins
        The plugin files that are in force.
    folder
        The folder in which the command was started.
    """

    contrast: Contrast
    setup: Setup
    stimuli: Parts
    plugins: tuple[Path, ...]
    folder: str


def shards_of(stimuli: Parts, n: int) -> list[dict[str, Sequence[Stimulus]]]:
    """Return the stimuli in ``n`` parts, of every condition as equally many as can be.

    Parameters
    ----------
    stimuli
        Condition -> its stimuli.
    n
        How many parts; those that would be empty are left out.
    """
    parts = [{name: group[i::n] for name, group in stimuli.items()} for i in range(n)]
    return [part for part in parts if any(part.values())]


def read_shard(shard: Shard, adapter: Adapter) -> ReadMoments:
    """Return the moments of the stimuli of a part.

    Parameters
    ----------
    shard
        The part.
    adapter
        The model.
    """
    groups = ByCondition.of(list(shard.contrast.conditions), shard.stimuli)
    return read_moments(adapter, shard.contrast, groups, layout_of(adapter, shard.contrast))


@dataclass(frozen=True)
class ShardedLocalizer:
    """Computes the statistics of a run with workers of Ray.

    Parameters
    ----------
    n
        How many workers.
    """

    n: int

    def __call__(self, run: Run) -> StatMap:
        """Return the statistics of every unit.

        Parameters
        ----------
        run
            The run.

        Raises
        ------
        ContrastError
            If the statistic takes every single activation.
        SweepError
            If Ray is not there, a worker is lost, or one has another model.
        """
        ray = require_ray("--shards")
        if needs_activations(run.contrast):
            text = f"--shards merges moments, and {run.contrast.statistic} takes every activation"
            raise run.contrast.error_at(("statistic",), f"{text}; write `statistic: welch`")
        files = tuple(file.path for file in given_files())
        shards = [
            Shard(run.contrast, run.setup, part, files, str(Path.cwd()))
            for part in shards_of(run.stimuli.localizing, self.n)
        ]
        with cluster(ray):
            read = _read_by(ray, shards, run)
        return stat_map_of(run.contrast, run.layout, reduce(ReadMoments.merged, read))


def _read_by(ray: Any, shards: Sequence[Shard], run: Run) -> list[ReadMoments]:
    """Return the moments of all parts, in their order."""
    task = ray.remote(**_resources(ray, len(shards), run.setup.model.device))(unwrap(_worker))
    tasks = [task.remote(shard) for shard in shards]
    order: dict[Any, int] = {ref: number for number, ref in enumerate(tasks)}
    read: dict[int, ReadMoments] = {}
    n = sum(map(len, run.stimuli.localizing.values()))
    with run.reporter.progress(f"localizing in {len(shards)} shards", n) as on_progress:
        while tasks:
            (done,), tasks = ray.wait(tasks, num_returns=1)
            number = order[done]
            read[number] = _checked(ray, done, run)
            on_progress(sum(map(len, shards[number].stimuli.values())))
    return [read[number] for number in sorted(read)]


def _checked(ray: Any, done: Any, run: Run) -> ReadMoments:
    """Return what a worker read, if it read the model of the run."""
    try:
        read, identity = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DeeplocError):
            raise SweepError(f"a worker of --shards: {error.cause}") from None
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise SweepError(f"a worker of --shards was lost: {reason}; use more memory") from None
    if identity != dict(run.adapter.identity):
        raise SweepError(
            f"a worker of --shards has another {run.setup.address}: its weights or code differ "
            "from those here; give all machines the same files"
        )
    moments: ReadMoments = read
    return moments


def _worker(shard: Shard) -> tuple[ReadMoments, dict[str, Any]]:
    """Load the model in a process of Ray, and read a part of the stimuli."""
    os.chdir(shard.folder)
    with without_files():
        plugins.use(shard.plugins)
        options = replace(shard.setup.model, modality=shard.contrast.modality)
        adapter = plugins.load_model(shard.setup.address, options)
        return read_shard(shard, adapter), dict(adapter.identity)


def _resources(ray: Any, n: int, device: str) -> dict[str, Any]:
    """Return what each of ``n`` workers gets: an equal part of the processors, a GPU if any."""
    there = ray.cluster_resources()
    largest = max(node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"])
    cpus = max(min(int(there.get("CPU", 1) // n), int(largest)), 1)
    return {"num_cpus": cpus, "num_gpus": int(device != "cpu" and there.get("GPU", 0) >= 1)}

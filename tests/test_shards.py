"""A localization in shards is the whole one, whatever the shards; without Ray it is one line."""

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from deeploc.analysis.localization import ReadMoments, localize, stat_map_of
from deeploc.cli import main
from deeploc.contrast.model import load
from deeploc.core.units import VECTORS
from deeploc.runs.setup import Setup
from deeploc.stimuli import load as load_stimuli
from deeploc.sweep.shards import Shard, read_shard, shards_of
from deeploc.testing.toy import ToyAdapter


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("response", ["abs", "signed"])
def test_merged_shards_are_the_whole(n: int, response: str, contrast_file: Path) -> None:
    """Every vector of the StatMap, means and standard deviations to 1e-12, empty shards or not."""
    changes = [f"read.response={response}", "read.sites=[mlp-neurons, block]"]
    contrast = load(contrast_file, changes)
    stimuli = load_stimuli(contrast, seed=0)
    adapter = ToyAdapter()
    whole = localize(adapter, contrast, stimuli)
    parts = [
        read_shard(Shard(contrast, Setup("toy:"), part, (), "."), adapter)
        for part in shards_of(stimuli, n)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = ReadMoments.merged(merged, part)
    sharded = stat_map_of(contrast, whole.layout, merged)

    assert len(parts) == min(n, 12)
    for name in VECTORS:
        one, other = getattr(whole, name), getattr(sharded, name)
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
    for condition, sd in whole.sds.items():
        np.testing.assert_allclose(sharded.sds[condition], sd, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(sharded.means[condition], whole.means[condition], rtol=1e-12)


@pytest.mark.parametrize(
    "command",
    [
        ["localize", "language", "-m", "reference:lm", "--shards", "2"],
        ["sweep", "laptop-faces", "--engine", "ray"],
    ],
)
def test_without_ray_it_is_one_line(
    command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """That names what to install; nothing is written."""
    monkeypatch.setitem(sys.modules, "ray", None)
    result = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "out")])

    assert result.exit_code == 1
    assert "pip install 'deeploc[ray]'" in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()

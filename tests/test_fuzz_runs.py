"""A damaged run folder is one line, never a traceback."""

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import fuzz_runs


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    place = tmp_path_factory.mktemp("fuzz")
    return place, fuzz_runs.make_run(place)


@pytest.mark.slow
def test_damaged_folders_raise_nothing_but_deeploc_errors(
    original: tuple[Path, dict[str, bytes]],
) -> None:
    """Three hundred mutations of manifest and files; 100,000 are read by the script."""
    place, files = original
    rng = random.Random(0)
    outcomes = []
    for number in range(300):
        fuzz_runs.damage(place / "run", files, rng)
        outcomes.append(fuzz_runs.read(place / "run", report=number == 0))

    assert {"refused", "read"} == set(outcomes)

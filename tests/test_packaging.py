import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import deeploc

ROOT = Path(__file__).parents[1]


def test_public_names_are_what_all_says() -> None:
    """Every name of __all__ can be had, sorted, and none is the name of a module."""
    modules = {path.stem for path in (ROOT / "deeploc").glob("*")}

    assert deeploc.__all__ == sorted(deeploc.__all__)
    assert set(deeploc.__all__) == set(deeploc._HOME)
    assert not modules & set(deeploc.__all__)
    assert all(getattr(deeploc, name).__name__ for name in deeploc.__all__)
    assert dir(deeploc) == deeploc.__all__
    with pytest.raises(AttributeError, match="no attribute 'locate'"):
        _ = deeploc.locate


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of the files in the wheel that `pip install .` would install."""
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--wheel-dir", str(target), str(ROOT)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = target.glob("*.whl")
    return set(zipfile.ZipFile(file).namelist())


def test_wheel_holds_every_module_and_data_file(wheel: set[str]) -> None:
    """What git tracks under the four folders is what a user gets."""
    listed = subprocess.run(
        ["git", "ls-files", "deeploc", "adapters", "contrasts", "sweeps"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    tracked = {path for path in listed.stdout.split() if (ROOT / path).is_file()}
    expected = {p if p.startswith("deeploc/") else f"deeploc/{p}" for p in tracked}

    assert expected <= wheel
    assert "deeploc/reference/lm/model.safetensors" in wheel
    assert "deeploc/report/report.html.jinja" in wheel
    assert "deeploc/sweeps/laptop-faces.yaml" in wheel

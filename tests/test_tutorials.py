"""The tutorials run, from the first cell to the last, without a network."""

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
sys.path.insert(0, str(ROOT / "scripts"))

import notebooks  # noqa: E402


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request of a kernel, and of what it starts, fail."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's own packages are theirs
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path: Path) -> None:
    """No cell and no command in one fails, and the last one of code shows something."""
    notebook = nbformat.read(path, as_version=4)
    notebooks.execute(notebook)
    *_, last = (cell for cell in notebook.cells if cell.cell_type == "code")

    assert last.outputs


@pytest.mark.filterwarnings("default")
def test_a_command_that_fails_fails_the_notebook() -> None:
    """Else a command of a tutorial could be wrong and nobody would see it."""
    cell = nbformat.v4.new_code_cell("!deeploc no-such-command")

    with pytest.raises(Exception, match="no-such-command"):
        notebooks.execute(nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_is_stored_without_outputs(path: Path) -> None:
    """Outputs in the repository would grow stale and large."""
    cells = nbformat.read(path, as_version=4).cells

    assert all(not c.outputs and c.execution_count is None for c in cells if "outputs" in c)


def test_every_tutorial_is_listed() -> None:
    """The page of tutorials, and the navigation of the site, name each."""
    page = (ROOT / "docs" / "tutorials" / "README.md").read_text(encoding="utf-8")
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    assert NOTEBOOKS
    assert all(f"({path.name})" in page for path in NOTEBOOKS)
    assert all(f"tutorials/{path.stem}.md" in site for path in NOTEBOOKS)

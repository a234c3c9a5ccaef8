"""The house: rooms of small modules."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    path
    for folder in ("deeploc", "adapters")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.is_relative_to(ROOT / "deeploc" / "adapters")
]
MAX_LINES = 300


def test_modules_are_found() -> None:
    """The list is not empty, and the link to the adapters is not followed twice."""
    assert len(MODULES) > 150
    assert len({path.resolve() for path in MODULES}) == len(MODULES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_long(path: Path) -> None:
    """One idea, at most 300 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES

"""The examples of docs/plugins.md, executed from the page."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from deeploc import entry_points
from deeploc.cli import main
from deeploc.plugin_files import GROUPS, PluginFile, short

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
FILES = {name[1]: body for _, body in BLOCKS if (name := re.match(r"# (\S+\.(?:py|yaml))\n", body))}
COMMANDS = [
    line for language, body in BLOCKS if language == "console" for line in body.splitlines()
]
QUICK = {
    "run": (
        *("--limit", "6", "--percent", "10", "--mode", "zero", "--controls", "1", "-q"),
        *("--set", "verdict.untrained=false"),
    ),
    "localize": ("--limit", "6", "--sites", "block", "-q"),
    "evaluate": ("--percent", "10", "--mode", "zero", "--controls", "1", "-q"),
}
"""What makes the commands of the page quick; the page itself has the defaults."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    for name, body in FILES.items():
        (place / name).write_text(body)
    return place


@pytest.fixture(autouse=True)
def _no_files() -> Iterator[None]:
    with entry_points.without_files():
        yield


def test_the_page_has_a_file_for_every_group(folder: Path) -> None:
    """Each of the five is shown by an example that can be copied."""
    files = [PluginFile.read(folder / name) for name in FILES if 'plugins = {"' in FILES[name]]
    shown = {group for file in files for group in file.names}

    assert shown == set(GROUPS)
    assert all(f"`{short(group)}`" in PAGE for group in GROUPS)


@pytest.mark.slow
@pytest.mark.parametrize("line", dict.fromkeys(COMMANDS))
def test_the_commands_of_the_page_work(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page, in a folder that holds its files."""
    monkeypatch.chdir(folder)
    program, command, *args = shlex.split(line)
    more = QUICK.get(command, ())
    result = CliRunner().invoke(main, [command, *args, *more])

    assert program == "deeploc"
    assert result.exit_code == 0, result.output


def test_the_test_of_the_page_passes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check of the kit, as the author of a package would write it."""
    monkeypatch.syspath_prepend(folder)
    space: dict[str, object] = {}
    exec(compile(FILES["test_my_adapter.py"], "test_my_adapter.py", "exec"), space)
    test = space["test_promise"]
    assert callable(test)
    checks = space["CHECKS"]
    assert isinstance(checks, tuple)
    skipped = []
    for check in checks:
        try:
            test(check)
        except Exception as error:
            if type(error).__name__ != "SkipTest":
                raise
            skipped.append(check.name)

    assert skipped == ["tokenization", "score", "generate", "classify"]


def test_the_file_among_the_examples_passes_the_kit() -> None:
    """`examples/one_file_adapter.py` keeps every promise."""
    file = ROOT / "examples" / "one_file_adapter.py"
    result = CliRunner().invoke(main, ["check-adapter", "letters:x", "--plugin", str(file)])

    assert result.exit_code == 0, result.output
    assert set(GROUPS) - set(PluginFile.read(file).names) == {"deeploc.tasks"}

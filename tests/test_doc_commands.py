"""Every command of the pages, executed in the order of its page.

What a page names as a placeholder (`hf:gpt2`, `FOLDER`, `LANGLOC`, `cat.jpg`) lies in the folder in
which its commands run; `QUICK` makes them quick. Those of docs/plugins.md: test_plugin_docs.py, of
docs/lm-eval.md: test_lm_eval.py.
"""

import csv
import re
import shlex
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from deeploc.cli import main

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
NOT_RUN = {"pip install -e .", "make demo", "hf auth login"}
"""What installs deeploc (`make demo` then runs a command of the start page) and what logs in."""
SAMPLE = ("--limit", "4")
CHANGES = ("ablate.controls.random=1", "verdict.controls=1", "verdict.untrained=false")
QUICK = {
    "run": (*SAMPLE, "-q", *(part for change in CHANGES for part in ("--set", change))),
    "localize": (*SAMPLE, "-q"),
    "sweep": ("-q", "--set", "set.ablate={controls: {random: 1}}"),
}
STIMULI = {"emotion/anger": "emotion", "faces": "floc"}
"""Contrasts whose stimuli lie elsewhere -> the folder that holds a few in their layout."""
CHOSEN = {
    "--percent": ("--percent", "10"),
    "--mode": ("--mode", "zero"),
    "--sites": ("--sites", "block"),
}
"""What is added where the line itself does not choose."""


def commands(page: Path) -> list[str]:
    """Return the command lines of a page, without the output that is shown beside them."""
    blocks = [
        body for kind, body in BLOCK.findall(page.read_text("utf-8")) if kind in ("", "console")
    ]
    lines = [line for body in blocks for line in body.splitlines()]
    return [line.removeprefix("$ ") for line in lines if re.match(r"\$ |deeploc ", line)]


PAGES = {
    str(page.relative_to(ROOT)): commands(page)
    for page in SOURCES
    if commands(page) and page.name not in ("plugins.md", "lm-eval.md")
}
ALL_EXAMPLES = "docs/usage.md"
"""The page whose examples other pages repeat; those are executed once."""


def executed(page: str) -> list[str]:
    """Return the lines of a page that are executed on it."""
    elsewhere = PAGES[ALL_EXAMPLES] if page != ALL_EXAMPLES else []
    known = [shlex.split(line, comments=True) for line in elsewhere]
    return [
        line
        for line in PAGES[page]
        if line not in NOT_RUN
        and "hf://" not in line  # against a hub of its own: test_sharing.py
        and (shlex.split(line, comments=True) not in known or line.startswith("deeploc new"))
    ]


def write_pictures(folder: Path, rng: np.random.Generator) -> None:
    names = "adult child body limb number word corridor house car instrument scrambled"
    for name in names.split():
        (folder / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


def write_texts(folder: Path, rng: np.random.Generator) -> None:
    words = [
        "the",
        "cat",
        "dog",
        "sees",
        "chases",
        "a",
        "bird",
        "old",
        "new",
        "red",
        "under",
        "house",
    ]
    (folder / "langloc").mkdir()
    with (folder / "langloc" / "set.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([f"stim{number}" for number in range(2, 15)])
        for kind in "SN" * 8:
            table.writerow([*rng.permutation(words), kind])
    (folder / "PEREIRA").mkdir()
    with (folder / "PEREIRA" / "pereira2018.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Sentence", "EffectSize"])
        table.writerows([" ".join(rng.permutation(words)), rng.normal()] for _ in range(20))
    (folder / "emotion").mkdir()
    with (folder / "emotion" / "validation.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for label in range(6):
            table.writerows(
                [f"i feel {' '.join(rng.permutation(words))}", label] for _ in range(20)
            )


@pytest.fixture(scope="module")
def placeholders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the pages name."""
    import timm
    import torch
    from torchvision.models import squeezenet1_0

    folder = tmp_path_factory.mktemp("placeholders")
    rng = np.random.default_rng(0)
    for name in ("gpt2", "checkpoint", "FOLDER"):
        shutil.copytree(str(files("deeploc") / "reference" / "lm"), folder / name)
    write_texts(folder, rng)
    write_pictures(folder / "floc", rng)
    shutil.copy(folder / "floc" / "adult" / "0.jpg", folder / "cat.jpg")
    torch.save(squeezenet1_0(weights=None).state_dict(), folder / "squeezenet.pth")
    network = timm.create_model("vit_tiny_patch16_224", num_classes=10)
    timm.models.save_for_hf(network, folder / "VIT", safe_serialization="both")
    return folder


def line_as_run(line: str) -> list[str]:
    """Return the arguments of a line: placeholders by what there is, and what makes it quick."""
    for written, there in (
        ("timm:local-dir:FOLDER", "timm:local-dir:VIT"),
        ("/path/to/", ""),
        ("LANGLOC", "langloc"),
        ("FLOC", "floc"),
    ):
        line = line.replace(written, there)
    _, command, *args = shlex.split(line, comments=True)
    args += QUICK.get(command, ())
    if command != "run":
        return [command, *args]
    for option, added in CHOSEN.items():
        args += () if option in args else added
    if args[0] in STIMULI and "--stimuli" not in args:
        args += ("--stimuli", STIMULI[args[0]])
    if args[0].startswith("emotion/"):  # its two sides are balanced, one condition against five
        args += ("--limit", "20")
    if "timm:resnet18" in args:  # the weights are on the hub
        args += ("--untrained",)
    if "-o" not in args:  # where the run would be without what makes it quick
        model = args[args.index("-m") + 1].split(":")[-1]
        args += ("-o", f"runs/{args[0]}-{Path(model).name}", "--overwrite")
    return [command, *args]


def prepare_runs(lines: list[str]) -> None:
    """Make the runs that a page names as the reader's own."""
    first, *others = [
        name for name in ("BY-CONTRAST", "RUN") if name in " ".join(lines).split()
    ] or [""]
    if first:
        command = ["localize", "language", "-m", "hf:FOLDER", "-o", first, *QUICK["localize"]]
        assert CliRunner().invoke(main, command).exit_code == 0
    for name in others:
        shutil.copytree(first, name)


def test_pages_are_found() -> None:
    """The start page and the README have commands, and only known ones are not executed."""
    others = {line for lines in PAGES.values() for line in lines if not line.startswith("deeploc ")}

    assert {"README.md", "docs/index.md", "docs/usage.md", "docs/questions.md"} <= set(PAGES)
    assert others == NOT_RUN


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(
    page: str, placeholders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page, each ending without an error."""
    folder = tmp_path / "here"
    shutil.copytree(placeholders, folder)
    monkeypatch.chdir(folder)
    prepare_runs(PAGES[page])
    previous: list[str] = []
    for line in executed(page):
        if "…" in line:  # the command before it, with other options
            line = line.replace("deeploc run …", shlex.join(previous))
        args = line_as_run(line)
        result = CliRunner().invoke(main, [*args])

        assert result.exit_code == 0, f"{line}\n{shlex.join(args)}\n{result.output}"
        previous = shlex.split(line, comments=True)

"""Masks on the hub and back, against a hub on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.errors import HubError
from deeploc.runs.folder import RunFolder
from deeploc.sharing import Address, fetch, files_of, parse

from .fake_hub import Writable, writable


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Writable]]:
    """Lend a hub of its own, to which the user is logged in."""
    with writable() as (address, held):
        for name, value in {
            "HF_HUB_OFFLINE": False, "ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        }.items():  # fmt: skip
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        yield held


def error_of(result: Result) -> str:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    return line.removeprefix("Error: ")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://me/nets", Address("me/nets")),
        ("hf://me/nets@v1", Address("me/nets", revision="v1")),
        ("hf://me/nets@v1/a/b", Address("me/nets", "model", "v1", "a/b")),
        ("hf://datasets/me/nets/a", Address("me/nets", "dataset", None, "a")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """Repository, kind, revision and path; said again it is the same."""
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["hf://me", "hf://", "hf://me/", "hf://me/a b", "hf:///x/y"])
def test_what_is_no_address(text: str) -> None:
    """The message says how one is written."""
    with pytest.raises(HubError, match=r"write hf://USER/NAME"):
        parse(text)


def test_a_mask_goes_to_the_hub_and_comes_back(
    finished: Path, shared_contrast: Path, tiny_lm: Path, hub: type[Writable], tmp_path: Path
) -> None:
    """Named by model, contrast and selection; from there it is a run with the same units."""
    pushed = run("push", finished, "hf://me/nets", "--private")
    assert pushed.exit_code == 0, pushed.output
    place = pushed.stdout.strip()
    names = sorted(hub.files)
    (facts,) = (json.loads(hub.files[name]) for name in names if name.endswith("_mask.json"))
    back = tmp_path / "back"
    named = ("-m", f"hf:{tiny_lm}", "--contrast", shared_contrast)
    imported = run("import", "hf://me/nets", *named, "-o", back, "-q")

    assert hub.made[0].get("private") or hub.made[0].get("visibility") == "private"
    assert place.startswith("hf://me/nets/model-")
    assert place.endswith("_mask.safetensors")
    assert {name.rpartition("_")[2] for name in names[2:]} == {
        "mask.safetensors", "mask.json", "units.tsv", "verdict.json",
    }  # fmt: skip
    assert names[:2] == ["README.md", "dataset_description.json"]
    assert facts["model"] == f"hf:{tiny_lm.name}"
    assert str(tiny_lm.parent) not in b"".join(hub.files.values()).decode(errors="replace")
    assert imported.exit_code == 0, imported.output
    assert RunFolder(back).read_mask().selected.tolist() == (
        RunFolder(finished).read_mask().selected.tolist()
    )


def test_several_masks_lie_in_one_repository(finished: Path, hub: type[Writable]) -> None:
    """What is there stays; `import` names them where it is not told which."""
    first = run("push", finished, "hf://me/nets").stdout.strip()
    hub.files["README.md"] = b"own words"
    second = first.replace("contrast-words", "contrast-other")
    path = parse(first).path
    hub.files[parse(second).path] = hub.files[path]
    assert run("push", finished, "hf://me/nets").exit_code == 0
    message = error_of(run("import", "hf://me/nets", "-m", "reference:lm"))

    assert hub.files["README.md"] == b"own words"
    assert "holds 2 masks; name one: " in message
    assert first in message
    assert second in message
    assert fetch(first).read_bytes() == hub.files[path]


@pytest.mark.usefixtures("hub")
def test_what_the_hub_refuses_is_one_line(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no mask in it, no right to write, a run without a selection."""
    args = ("import", "hf://me/nets", "-m", "reference:lm")
    nowhere = error_of(run(*args))
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused = error_of(run("push", finished, "hf://me/nets"))
    empty = error_of(run(*args))
    no_run = error_of(run("push", finished.parent, "hf://me/nets"))

    assert "no such repository, or it is private" in nowhere
    assert "hf auth login" in refused
    assert "holds no mask" in empty
    assert "is no run" in no_run


def test_nothing_of_the_stimuli_is_shared(finished: Path) -> None:
    """No text that a manifest shows as an example is in what would be sent."""
    sent = b"".join(files_of(finished).values()).decode(errors="replace")
    stimuli = json.loads((finished / "manifest.json").read_text())["stimuli"]
    samples = [text for record in stimuli.values() for text in record["samples"]]

    assert samples
    assert not [text for text in samples if text in sent]


def test_a_file_says_which_model_and_contrast(
    finished: Path, tmp_path: Path, shared_contrast: Path
) -> None:
    """A contrast that deeploc does not have, or no model, is asked for by name."""
    units = tmp_path / "units.safetensors"
    assert run("export", finished, "--format", "safetensors", "-o", units).exit_code == 0
    (tmp_path / "own.csv").write_text("site,index\nh.0,1\n")
    silent = run("import", tmp_path / "own.csv", "-m", "reference:lm")
    unknown = run("import", units)
    nameless = run("import", tmp_path / "own.csv", "--contrast", shared_contrast)

    assert unknown.exit_code == nameless.exit_code == 2
    assert silent.exit_code == 2
    assert "does not say with which contrast it was localized; name it: --contrast" in silent.output
    assert "a contrast 'words' that deeploc does not have" in unknown.output
    assert "does not say of which model it is; name it: -m" in nameless.output


def test_a_mask_that_is_not_there(tmp_path: Path) -> None:
    """Told before anything is loaded or downloaded, also of a folder."""
    for name in ("none.npy", "none.csv", "none.safetensors"):
        message = error_of(run("import", tmp_path / name, "-m", "reference:lm"))
        assert f"{name} does not exist; `deeploc export RUN` writes masks" in message
    assert "is a folder; name a mask in it" in error_of(run("import", tmp_path))


def test_a_hub_that_cannot_be_reached(
    finished: Path, hub: type[Writable], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, with what to do; the retries of the library print nothing."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for args in (("push", finished, "hf://me/nets"), ("import", "hf://me/nets", "-m", "hf:x")):
        message = error_of(run(*args))
        assert "the hub cannot be reached: " in message
        assert "check the network and HF_ENDPOINT" in message
    assert not hub.files

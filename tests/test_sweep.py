"""Sweeps: each cell is the run by hand; what fails, is killed or is there already."""

import csv
import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.contrast.model import load as load_contrast
from deeploc.runs.folder import RunFolder
from deeploc.sweep import local
from deeploc.sweep.cells import Cell, cells_of, groups_of
from deeploc.sweep.file import available, load
from deeploc.sweep.record import read_record
from deeploc.sweep.work import CellResult, Started, Work, results_of

SHIPPED = {"llm-language-network": 54, "laptop-faces": 8}
"""Shipped sweep -> how many cells it has."""


@pytest.fixture(autouse=True)
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all manifests be of one moment: so runs are compared to the byte."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def write_sweep(folder: Path, model: Path, contrast: Path, **changes: object) -> Path:
    """Write a sweep of two tiny models, two contrasts and two seeds."""
    other = folder / "lists.yaml"
    text = contrast.read_text().replace("name: words", "name: lists")
    text = text.replace("file: ", f"file: {contrast.parent}/")
    other.write_text(text.replace("sentences > lists", "lists > sentences"))
    sweep = {
        "name": "small",
        "title": "Tiny models",
        "models": [f"hf:{model}", {"model": f"hf:{model}", "untrained": True}],
        "contrasts": [str(contrast), "lists.yaml"],
        "seeds": [0, 1],
        "set": {
            "read.sites": "block",
            "ablate": {"controls": {"random": 1}},
            "evaluate": ["perplexity"],
            "verdict.untrained": False,
        },
        **changes,
    }
    path = folder / "small.yaml"
    path.write_text(json.dumps(sweep, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def swept(tiny_lm: Path, shared_contrast: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a whole sweep in two processes, in which no test writes."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        path = write_sweep(folder, tiny_lm, shared_contrast)
        result = invoke(path, folder / "out", "--jobs", "2")
    assert result.exit_code == 0, result.output
    return folder / "out"


def invoke(path: Path, folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["sweep", str(path), "-o", str(folder), *more])


def files_of(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.iterdir() if file.name != ".lock"}


def by_hand(command: str, folder: Path) -> dict[str, bytes]:
    """Return the files of the run that a recorded command makes, at the place that it names."""
    _, *args = shlex.split(command)
    kept = folder.rename(folder.with_name("kept"))
    try:
        result = CliRunner().invoke(main, [*args, "-q"])
        assert result.exit_code == 0, result.output
        return files_of(folder)
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        kept.rename(folder)


def rows_in(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "sweep.csv").read_text("utf-8").splitlines()))


TOO_MANY = {"contrast": "lists.yaml", "set": {"select": {"k": 1_000_000}}}
"""A contrast that fails as soon as the model is loaded."""


def cells(path: Path, folder: Path) -> list[Cell]:
    return cells_of(load(path), folder)


def test_every_cell_is_the_run_by_hand(swept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are the same to the byte, the manifest and its command included."""
    record = read_record(swept)
    chosen = [record.cells[number] for number in (0, 3, 5)]

    assert [cell.status for cell in record.cells] == ["done"] * 8
    assert {(cell.model, cell.contrast, cell.seed) for cell in chosen} == {
        (record.cells[0].model, "words", 0),
        (record.cells[0].model, "lists", 1),
        (record.cells[4].model, "words", 1),
    }
    for cell in chosen:
        monkeypatch.setattr(sys, "argv", shlex.split(cell.command))
        assert by_hand(cell.command, swept / cell.folder) == files_of(swept / cell.folder)


def test_the_table_has_a_row_for_each_cell_and_kind_of_site(swept: Path) -> None:
    """With the answers of its verdict.json, its p and the d of its profile."""
    rows = rows_in(swept)

    assert len(rows) == 8
    for row in rows:
        run = RunFolder(swept / row["folder"])
        verdict, profile = run.read_verdict(), run.read_profile()
        assert verdict is not None
        assert profile is not None
        (network,) = (each for each in verdict.networks if each.sites == row["sites"])
        reply = network.reply("selective")
        assert reply is not None
        assert row["selective"] == ("" if reply.answer == "not asked" else reply.answer)
        assert row["selective p"] == ("" if reply.p is None else f"{reply.p:.6g}")
        d = profile.preference(network.sites, "selected").d
        assert row["d"] == f"{d:.6g}"
    assert any(float(row["selective p"] or "nan") < 1 for row in rows)


def test_the_page_links_every_report(swept: Path) -> None:
    """By a path that is relative to the page, without a script."""
    page = (swept / "sweep.html").read_text(encoding="utf-8")

    for cell in read_record(swept).cells:
        assert f'href="{cell.folder}/report.html"' in page
        assert (swept / cell.folder / "report.html").is_file()


def test_tables_are_written_again_without_models(swept: Path) -> None:
    """`deeploc report` of the folder of a sweep gives the same page and table."""
    names = ("sweep.csv", "sweep.html", "sweep.json")
    before = {name: (swept / name).read_bytes() for name in names}
    (swept / "sweep.html").unlink()
    result = CliRunner().invoke(main, ["report", str(swept)])

    assert result.exit_code == 0, result.output
    assert {name: (swept / name).read_bytes() for name in names} == before


@pytest.mark.slow
def test_what_is_there_is_reused_and_what_fails_stops_nothing(
    tiny_lm: Path, shared_contrast: Path, tmp_path: Path
) -> None:
    """A failed cell is one line in the output and the table, and the exit code is 1."""
    changes = {"contrasts": [TOO_MANY, str(shared_contrast)], "seeds": [0]}
    path = write_sweep(tmp_path, tiny_lm, shared_contrast, models=[f"hf:{tiny_lm}"], **changes)
    first = invoke(path, tmp_path / "out")
    before = files_of(tmp_path / "out" / read_record(tmp_path / "out").cells[1].folder)
    second = invoke(path, tmp_path / "out")
    record = read_record(tmp_path / "out")

    assert (first.exit_code, second.exit_code) == (1, 1)
    assert [cell.status for cell in record.cells] == ["failed", "reused"]
    assert "1,000,000" in record.cells[0].error
    assert "1 of 2 cells failed" in first.output
    assert files_of(tmp_path / "out" / record.cells[1].folder) == before
    assert "1,000,000" in rows_in(tmp_path / "out")[0]["error"]


@pytest.mark.slow
def test_a_killed_worker_goes_on_where_it_was(
    tiny_lm: Path, shared_contrast: Path, tmp_path: Path
) -> None:
    """Finished cells are not run again; a cell whose process always dies is given up."""
    contrasts = [TOO_MANY, str(shared_contrast), {**TOO_MANY, "set": {"select": {"k": 10**5}}}]
    changes = {"contrasts": contrasts, "seeds": [0]}
    path = write_sweep(tmp_path, tiny_lm, shared_contrast, **changes)
    (group, _) = groups_of(cells(path, tmp_path / "out"))
    results: list[CellResult] = []
    begun: list[int] = []

    def kill_at_one(event: object) -> None:
        if isinstance(event, Started):
            begun.append(event.number)
            if event.number == 1:
                os.kill(event.pid, signal.SIGKILL)
        elif isinstance(event, CellResult):
            results.append(event)

    local.LocalEngine(1, retries=1, need=lambda _: None).run([Work(group.cells)], kill_at_one)

    assert ["signal 9" in result.error for result in results] == [False, True, False]
    assert begun == [0, 1, 1, 2]


def test_a_model_is_loaded_once(
    tiny_lm: Path, shared_contrast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all contrasts and seeds of trained weights; random weights are those of each seed."""
    from deeploc import plugins

    loaded: list[bool] = []
    load_model = plugins.load_model

    def counted(address: str, options: object) -> object:
        loaded.append(options.untrained)  # type: ignore[attr-defined]
        return load_model(address, options)  # type: ignore[arg-type]

    monkeypatch.setattr(plugins, "load_model", counted)
    path = write_sweep(tmp_path, tiny_lm, shared_contrast, contrasts=[TOO_MANY], seeds=[0, 1, 2])
    for group in groups_of(cells(path, tmp_path / "out")):
        assert len(list(results_of(Work(group.cells)))) == 6

    assert loaded == [False, True, True, True]


def test_options_are_combined_and_have_folders_of_their_own(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Also where an option adds scores only, which runs by hand would add to one folder."""
    options = {"ablate.mode": ["zero", "mean"], "read.pool": ["last", "mean"]}
    path = write_sweep(tmp_path, tiny_lm, contrast_file, options=options, seeds=[0])
    made = cells(path, tmp_path / "out")

    assert len(made) == 2 * 2 * 4
    assert len({cell.folder for cell in made}) == len(made)
    assert {tuple(cell.options.values()) for cell in made} == {
        (mode, pool) for mode in ("zero", "mean") for pool in ("last", "mean")
    }


def test_contrasts_of_one_name_have_folders_of_their_own(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Files in several folders may give a contrast the same name."""
    text = contrast_file.read_text().replace("file: ", f"file: {contrast_file.parent}/")
    places = [tmp_path / name / "words.yaml" for name in "abc"]
    for place in places:
        place.parent.mkdir()
        place.write_text(text)
    path = write_sweep(tmp_path, tiny_lm, contrast_file, contrasts=[str(p) for p in places])
    made = cells(path, tmp_path / "out")

    assert {cell.name for cell in made} == {"words"}
    assert len({cell.folder for cell in made}) == len(made) == 2 * 3 * 2


@pytest.mark.parametrize("value", ["größe", "\N{GRINNING FACE}", 1e-05, [0.5, True, None]])
def test_the_values_of_options_stay_as_they_are(
    value: object, tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """The command of a cell, with the value as YAML, makes the contrast that the file asks for."""
    options = {"evaluate": [[{"perplexity": {"note": value}}]]}
    path = write_sweep(tmp_path, tiny_lm, contrast_file, options=options, seeds=[0])
    words = shlex.split(cells(path, tmp_path / "out")[0].setup.command)
    (change,) = (word for word in words if word.startswith("evaluate="))

    assert dict(load_contrast(contrast_file, [change]).tasks) == {"perplexity": {"note": value}}


def test_a_file_alone_runs_no_code_of_a_checkpoint(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Whoever starts the sweep allows it, too."""
    models = [{"model": f"hf:{tiny_lm}", "trust_remote_code": True}]
    path = write_sweep(tmp_path, tiny_lm, contrast_file, models=models, seeds=[0])
    refused = invoke(path, tmp_path / "out", "--dry-run")
    allowed = invoke(path, tmp_path / "out", "--dry-run", "--trust-remote-code")

    assert refused.exit_code == 1
    assert f"{path}:1: hf:{tiny_lm} would run the Python code" in refused.output
    assert allowed.exit_code == 0


WRONG = {
    "unknown key": ({"modells": []}, "unknown key 'modells'; did you mean 'models'?"),
    "no adapter": ({"models": ["gpt2"]}, "write ADAPTER:NAME"),
    "unknown adapter": ({"models": ["hff:gpt2"]}, "did you mean 'hf'?"),
    "unknown contrast": ({"contrasts": ["languge"]}, "did you mean 'language'?"),
    "unknown key of a contrast": ({"set": {"read.pol": "mean"}}, "did you mean 'pool'?"),
    "unknown key of a model": ({"models": [{"model": "hf:x", "dtyp": "float32"}]}, "'dtype'"),
    "a seed twice": ({"seeds": [1, 1]}, "listed twice"),
    "a negative seed": ({"seeds": [-1]}, "greater than or equal to 0"),
    "no values": ({"options": {"read.pool": []}}, "a list of at least one"),
    "no amount of memory": ({"resources": {"memory": "much"}}, "write e.g. 8 GB"),
    "no key": ({"options": {"read..pool": [1]}}, "write it dotted"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line_with_its_place(
    name: str, tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Before anything runs, and without a traceback."""
    changes, message = WRONG[name]
    path = write_sweep(tmp_path, tiny_lm, contrast_file, **changes)
    result = invoke(path, tmp_path / "out")

    assert result.exit_code == 1
    assert message in result.output
    assert f"{path}:1: " in result.output
    assert not (tmp_path / "out").exists()


def test_a_mistake_names_its_line(tmp_path: Path) -> None:
    """In a file of several lines."""
    path = tmp_path / "s.yaml"
    path.write_text("name: s\ntitle: t\nmodels: [reference:lm]\ncontrasts:\n  - languag\n")
    result = invoke(path, tmp_path / "out")

    assert f"{path}:5: no contrast named 'languag'; did you mean 'language'?" in result.output


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ("contrasts: [language]\nset: {read.pol: mean}\n", "5: read.pol="),
        ("contrasts: [language]\noptions:\n  read.pol: [mean]\n", "6: read.pol="),
        ("contrasts:\n  - contrast: language\n    set: {read.pol: mean}\n", "6: read.pol="),
    ],
)
def test_a_mistaken_change_names_its_line(lines: str, place: str, tmp_path: Path) -> None:
    """That of the change, not that of the contrast; nobody wrote `--set`."""
    path = tmp_path / "s.yaml"
    path.write_text(f"name: s\ntitle: t\nmodels: [reference:lm]\n{lines}")
    result = invoke(path, tmp_path / "out")

    assert f"{path}:{place}" in result.output
    assert "did you mean 'pool'?" in result.output


def test_stimuli_of_no_contrast_are_refused(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """A misspelled name would else be without effect."""
    path = write_sweep(tmp_path, tiny_lm, contrast_file, contrasts=["language"])
    result = invoke(path, tmp_path / "out", "--stimuli", f"languge={tmp_path}", "--dry-run")

    assert result.exit_code == 1
    assert "no contrast 'languge'; did you mean 'language'?" in result.output


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sweeps_are_usable(name: str, tmp_path: Path) -> None:
    """Every contrast of theirs is there and takes the changes, and each is named as its file."""
    sweep = load(name)
    stimuli = {"": tmp_path}
    made = cells_of(sweep, tmp_path / "out", stimuli)

    assert available() == sorted(SHIPPED)
    assert sweep.name == name
    assert len(made) == SHIPPED[name]
    assert len({cell.folder for cell in made}) == len(made)


def test_the_doses_of_the_paper_are_measured_in_every_network() -> None:
    """In one run each: a dose is no run of its own."""
    made = cells_of(load("llm-language-network"), Path("out"), {})

    assert len({cell.model for cell in made}) == 18
    assert {cell.loaded().ablate.percent for cell in made[:3]} == {(0.125, 0.25, 0.5, 1)}


@pytest.mark.slow
def test_a_dry_run_tells_what_a_run_shows_the_model(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """Passes are those of the run; nothing is written."""
    from deeploc import plugins
    from deeploc.experiment import run_all
    from deeploc.sweep.forecast import forecast

    path = write_sweep(tmp_path, tiny_lm, contrast_file)
    cell = cells(path, tmp_path / "out")[0]
    (told,) = forecast([cell])
    adapter = Counted(plugins.load_model(cell.setup.address))
    run_all(cell.loaded(), cell.setup, tmp_path / "run", adapter=adapter)  # type: ignore[arg-type]

    assert told.units == 2 * 16
    assert told.passes is not None
    assert told.passes.least == told.passes.most == adapter.count
    assert not (tmp_path / "out").exists()


class Counted:
    """A model that counts what it is shown, and is otherwise the one that it holds."""

    def __init__(self, adapter: object) -> None:
        self._adapter, self.count = adapter, 0

    def __getattr__(self, name: str) -> object:
        value = getattr(self._adapter, name)
        if name not in ("activations", "positions", "score"):
            return value

        def counted(shown: list[object], *more: object) -> object:
            self.count += len(shown)
            return value(shown, *more)

        return counted


@pytest.mark.parametrize("address", ["reference:lm", "reference:cnn", "torchvision:squeezenet1_0"])
def test_the_size_of_a_model_is_known_without_its_weights(address: str) -> None:
    """Parameters are those of the loaded model, bytes those of its precision."""
    from deeploc.core.model_options import ModelOptions
    from deeploc.plugins import load_model, outline_model

    options = ModelOptions(untrained=True)
    outline = outline_model(address, options)
    half = outline_model(address, ModelOptions(untrained=True, dtype="bfloat16"))

    assert outline is not None
    assert half is not None
    assert outline.parameters == load_model(address, options).identity["parameters"]
    assert (outline.bytes, half.bytes) == (4 * outline.parameters, 2 * outline.parameters)


def test_a_model_whose_size_is_not_known_runs_alone(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """And one that is known reserves its weights, those of its copy, and a process."""
    from deeploc.sweep.forecast import memory_of

    path = write_sweep(tmp_path, tiny_lm, contrast_file, models=[f"hf:{tiny_lm}", "torch:a.b"])
    known, unknown = (memory_of(Work(group.cells)) for group in groups_of(cells(path, tmp_path)))

    assert known is not None
    assert 2**30 < known < 2**30 + 2**20
    assert unknown is None


def test_a_dry_run_prints_what_fails_and_fits_a_line(
    tiny_lm: Path, contrast_file: Path, tmp_path: Path
) -> None:
    """In 80 columns; a model that cannot be loaded is said to fail, with the reason."""
    models = [f"hf:{tiny_lm}", f"hf:{tmp_path}/nowhere"]
    path = write_sweep(tmp_path, tiny_lm, contrast_file, models=models)
    result = invoke(path, tmp_path / "out", "--dry-run", "-q")
    lines = [line for line in result.output.splitlines() if str(tmp_path.parent) not in line]

    assert result.exit_code == 0, result.output
    assert max(map(len, lines)) <= 80
    assert result.output.count("will fail") == 4
    assert "8 cells: " in result.output

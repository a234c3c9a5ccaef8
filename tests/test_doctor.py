"""`deeploc doctor`: what it finds, what it calls broken, and how long it takes."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deeploc.cli import main
from deeploc.doctor import devices, packages
from deeploc.doctor.caches import Cache
from deeploc.doctor.caches import problems as cache_problems
from deeploc.doctor.devices import Device, Devices, ask_torch
from deeploc.doctor.hub import ask_hub
from deeploc.doctor.packages import Package

from .fake_hub import serving

NOT_ASKED = Devices("ok", (Device("cpu", memory=8 * 10**9),), cores=2, threads=2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home without config, caches, or variables that choose other places."""
    for name in (
        *("DEEPLOC_CACHE_DIR", "DEEPLOC_CONFIG", "DEEPLOC_OFFLINE", "TORCH_HOME", "NO_COLOR"),
        *("HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HOME", "HF_DATASETS_CACHE"),
        *("HUGGINGFACE_HUB_CACHE", "XDG_CONFIG_HOME", "FORCE_COLOR"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def quick(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the same home; torch, which takes seconds to import, is not asked."""
    monkeypatch.setattr("deeploc.doctor.devices.ask_torch", lambda _: NOT_ASKED)
    return home


def doctor(*options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *options])


def found(*options: str) -> dict[str, object]:
    return json.loads(doctor("--json", *options).stdout)


def test_a_sound_installation_has_no_problem(quick: Path) -> None:
    """Versions, devices and places in 80 columns, and exit code 0."""
    result = doctor("--offline")

    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"deeploc {version('deeploc')} · Python {sys.version[:4]}")
    for name in ("torch", "torchvision", "transformers", "timm", "datasets", "numpy"):
        known = {p["name"]: p["version"] for p in found("--offline")["packages"]}
        assert known[name] == version(name)
    assert result.output.endswith("no problem found\n")
    assert "hub      not asked (--offline)" in result.output
    paths = [line for line in result.output.splitlines() if str(quick) in line]
    assert paths
    assert all(len(line) <= 80 for line in result.output.splitlines() if line not in paths)


@pytest.mark.usefixtures("home")
def test_it_says_what_torch_can_compute_on() -> None:
    """The devices and threads are those of torch in a process of its own."""
    import torch

    asked = ask_torch(60)

    assert asked.state == "ok"
    assert [d.device for d in asked.devices if d.device.startswith("cuda")] == [
        f"cuda:{i}" for i in range(torch.cuda.device_count())
    ]
    assert asked.devices[-1].device == "cpu"
    assert (asked.devices[-1].memory or 0) > 10**8
    assert asked.threads == torch.get_num_threads()


def fake_torch(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module called torch before the real one."""
    (folder / "torch.py").write_text(code)
    monkeypatch.syspath_prepend(folder)


def test_a_torch_that_cannot_be_imported_is_broken(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line of its error, what to do, and exit code 1."""
    fake_torch(home, "raise ImportError('libcudart.so.12: cannot open')", monkeypatch)
    result = doctor("--offline")

    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "problem: torch cannot be imported" in text
    assert "ImportError: libcudart.so.12: cannot open; pip install --force-reinstall torch" in text


def test_a_torch_that_hangs_is_not_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended; what is told until then is kept, and nothing is called broken."""
    fake_torch(home, "import time; time.sleep(60)", monkeypatch)
    started = time.monotonic()
    asked = ask_torch(0.5)

    assert time.monotonic() - started < 10
    assert asked.state == "slow"
    assert [device.device for device in asked.devices] == ["cpu"]
    assert [problem.broken for problem in devices.problems(asked)] == [False]


@pytest.mark.usefixtures("home")
def test_without_torch_it_says_so() -> None:
    """Where torch is not installed at all, in a process that could not import it either."""
    code = """
import importlib.metadata, sys
sys.modules["torch"] = None
whole = importlib.metadata.version
def version(name):
    if name == "torch":
        raise importlib.metadata.PackageNotFoundError(name)
    return whole(name)
importlib.metadata.version = version
from deeploc.cli import main
main(["doctor", "--offline"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    text = " ".join(done.stdout.split())

    assert done.returncode == 1, done.stderr
    assert "torch is not installed: no model can be loaded" in text
    assert "problem: torch is not installed; pip install 'torch>=" in text
    assert done.stderr == ""


def test_versions_that_do_not_fit_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what deeploc needs, of what a package of it needs, and of an extra that is installed."""
    needs = {
        "deeploc": ["torch>=2.6", "torchvision>=0.21", 'gguf>=0.10; extra == "gguf"'],
        "torchvision": ["torch==2.9.1", 'pillow>=99; extra == "more"'],
    }
    have = {"deeploc": "1", "torch": "2.5.0+cpu", "torchvision": "0.24.1", "gguf": "0.9"}
    _install(monkeypatch, needs, have)
    told = [
        f"{p.what}; {p.remedy}"
        for p in packages.problems(packages.required(), packages.extras())
        if p.broken
    ]

    assert told == [
        "torch 2.5.0+cpu is installed; deeploc needs >=2.6; pip install 'torch>=2.6'",
        "gguf 0.9 is installed; deeploc needs >=0.10; pip install 'gguf>=0.10'",
        "torchvision 0.24.1 needs torch==2.9.1, 2.5.0+cpu is installed; "
        "pip install --upgrade torchvision torch",
    ]


@pytest.mark.usefixtures("quick")
def test_a_missing_extra_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed with what it gives and the line that installs it."""
    needs = {"deeploc": ["click", 'peft>=0.17; extra == "peft"', 'peft; extra == "dev"']}
    _install(monkeypatch, needs, {"deeploc": "1", "click": "8.1"})
    result = doctor("--offline")

    assert result.exit_code == 0, result.output
    assert "  peft: models with adapters of PEFT" in result.output
    assert "    not installed: pip install 'deeploc[peft]'" in result.output
    assert packages.required() == (Package("click", "8.1", "", True),)


def _install(
    monkeypatch: pytest.MonkeyPatch, needs: Mapping[str, Sequence[str]], have: Mapping[str, str]
) -> None:
    """Have these packages installed, and no others."""

    def version_of(name: str) -> str:
        if name not in have:
            raise packages.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(packages, "version", version_of)
    monkeypatch.setattr(packages, "_requires", lambda name: tuple(needs.get(name, ())))


@pytest.mark.usefixtures("quick")
def test_a_hub_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with an error: something is there that speaks HTTP."""
    with serving({}) as address:
        monkeypatch.setenv("HF_ENDPOINT", f"{address}/")
        result = doctor()

    assert result.exit_code == 0, result.output
    assert f"hub      {address} answers in 0." in result.output


@pytest.mark.usefixtures("quick")
def test_a_hub_that_does_not_answer_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do; what is shipped works without it."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = doctor()

    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert "warning: http://127.0.0.1:9 does not answer: [Errno 111] Connection refused;" in text
    assert "HF_HUB_OFFLINE=1 uses only what is in the cache" in text


@pytest.mark.parametrize("endpoint", ["nonsense", "http://[::1", "ftp:///x"])
def test_an_address_that_is_none_is_told(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt HF_ENDPOINT is one line, not a traceback."""
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    for name in ("HF_HUB_OFFLINE", "DEEPLOC_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    asked = ask_hub(1)

    assert asked.state == "unreachable"
    assert asked.reason


@pytest.mark.usefixtures("quick")
def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE=1 is honoured, and is no problem."""
    asked: list[str] = []
    with serving({}) as address:
        monkeypatch.setattr("deeploc.doctor.hub.urlopen", lambda *a, **_: asked.append(str(a)))
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        seen = found()

    assert seen["hub"]["state"] == "offline"
    assert seen["problems"] == []
    assert asked == []


def test_caches_are_where_the_variables_say(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their size counts each file once, links of a snapshot not at all."""
    blobs = quick / "hf" / "hub" / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "weights").write_bytes(b"x" * 1000)
    (blobs.parent / "link").symlink_to(blobs / "weights")
    monkeypatch.setenv("HF_HOME", str(quick / "hf"))
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(quick / "own"))
    seen = {cache["holds"]: cache for cache in found("--offline")["caches"]}

    assert (seen["models"]["size"], seen["models"]["chosen_by"]) == (1000, "HF_HOME")
    assert seen["models"]["path"] == str(quick / "hf" / "hub")
    assert (seen["deeploc"]["path"], seen["deeploc"]["size"]) == (str(quick / "own"), None)
    assert seen["torchvision"]["path"] == str(quick / "cache" / "torch" / "hub" / "checkpoints")
    assert seen["data sets"]["path"] == str(quick / "hf" / "datasets")


def test_a_cache_that_is_a_file_is_broken(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable that moves it."""
    (quick / "file").write_text("")
    monkeypatch.setenv("DEEPLOC_CACHE_DIR", str(quick / "file"))
    result = doctor("--offline")

    assert result.exit_code == 1
    assert "another folder in DEEPLOC_CACHE_DIR" in " ".join(result.output.split())


def test_a_full_disk_is_told_once() -> None:
    """Two caches on one disk are one warning."""
    small = [Cache(name, "/", "", 0, True, 10**9, True) for name in ("models", "data sets")]
    (told,) = cache_problems(small)

    assert told.what == "only 1.0 GB are free on the disk of /"
    assert not told.broken


def test_a_broken_config_and_plugin_file_are_told(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a problem with the file and the line; a file that is sound is listed."""
    config = quick / "config.yaml"
    monkeypatch.setenv("DEEPLOC_CONFIG", str(config))
    config.write_text("plugin: [a.py]\n")
    (told,) = found("--offline")["problems"]
    assert f"{config}:1: unknown key 'plugin'" in told["what"]

    (quick / "bad.py").write_text("x = 1\n")
    (quick / "good.py").write_text("def f(): ...\nplugins = {'adapters': {'mine': f}}\n")
    config.write_text("plugins: [bad.py, good.py]\n")
    seen = found("--offline")
    assert [p["name"] for p in seen["plugins"]["offered"]] == ["-", "mine"]
    assert "bad.py" in seen["problems"][0]["what"]
    assert doctor("--offline").exit_code == 1


def test_it_takes_about_five_seconds_at_most(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a hub nor a torch that hangs is waited for, and both at the same time."""
    import socket

    fake_torch(home, "import time; time.sleep(60)", monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("deeploc.doctor.examine.PATIENCE", 1.0)
        started = time.monotonic()
        result = doctor()

    assert time.monotonic() - started < 1 + 4  # not the sum of all, on a slow machine either
    assert "does not answer" in result.output
    assert result.exit_code == 0

"""Random contrast files: the loader raises nothing but DeeplocError."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings

from deeploc.contrast.model import load
from deeploc.errors import ContrastError


def _script() -> ModuleType:
    """Return the module that generates and checks the inputs; it also runs many of them."""
    path = Path(__file__).parents[1] / "scripts" / "fuzz_contrasts.py"
    spec = importlib.util.spec_from_file_location("fuzz_contrasts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _script()
MINIMAL = (
    b"name: mine\ntitle: t\nmodality: text\nsource: me\n"
    b"conditions: {a: {texts: [x, y]}, b: {texts: [x, y]}}\ncontrast: a > b\n"
)


@given(given_input=fuzz.inputs)
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_input_breaks_the_loader(tmp_path: Path, given_input: object) -> None:
    """The loader returns a contrast that survives a manifest, or raises a line per problem."""
    fuzz.check(given_input, tmp_path)


FOUND = {
    "an index of 5,000 digits": (MINIMAL, f"evaluate.{'9' * 5000}=x"),
    "a key that looks like a tag of a union": (MINIMAL + b"(mapping): x\n", None),
    "a key that looks like pydantic's own": (MINIMAL + b"'[key]': x\n", None),
    "an override nested 3,000 deep": (MINIMAL, f"{'.'.join('a' * 3000)}=x"),
    "an escape beyond Unicode": (MINIMAL + b'notes: "\\UFFFFFFFF"\n', None),
    "a version of 5,000 digits": (b"%YAML " + b"9" * 5000 + b".1\n---\n" + MINIMAL, None),
    "an escaped surrogate": (MINIMAL + b'notes: "\\ud800"\n', None),
    "an escaped surrogate in a key": (MINIMAL + b'evaluate: [{choice: {"\\ud800": 1}}]\n', None),
    "an escaped NUL in a path": (MINIMAL.replace(b"{texts: [x, y]}", b'{file: "a\\0b"}', 1), None),
    "a line break in an override": (MINIMAL, "titel\n=x"),
    "a control that is no number": (MINIMAL + b"ablate: {controls: {name: mine}}\n", None),
    "weights whose sum overflows": (
        MINIMAL.replace(b"a > b", b"{a: 1.0e+308, b: 1.0e+308}"),
        None,
    ),
}


@pytest.mark.parametrize(("content", "override"), FOUND.values(), ids=list(FOUND))
def test_inputs_that_broke_the_loader(tmp_path: Path, content: bytes, override: str | None) -> None:
    """Each input that once raised something else is refused in one line."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)

    with pytest.raises(ContrastError) as caught:
        load(path, [] if override is None else [override])

    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith((str(path), "--set"))


def test_a_path_with_a_nul_is_not_a_file() -> None:
    """What no file can be called is refused like a file that does not exist."""
    with pytest.raises(ContrastError, match="cannot be read: embedded null byte"):
        load("a\0b.yaml")

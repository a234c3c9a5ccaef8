"""Load random contrast files and overrides; report every exception but a DeeplocError.

    python scripts/fuzz_contrasts.py N [--seed S]

Hypothesis generates N inputs: documents with right and wrong keys and values, shipped contrasts
with random edits, arbitrary text and bytes, deep nesting, and overrides (``--set``). A contrast
that loads must also survive the way through the JSON of a manifest unchanged. Prints the rate and
one input for each place in the code that raised something else.
"""

import argparse
import json
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from deeploc.contrast.model import Contrast, available, load
from deeploc.errors import DeeplocError

BATCH = 1000  # inputs per seed of Hypothesis
SLOW = 2.0  # seconds of computing after which an input counts as a finding


@dataclass(frozen=True)
class Input:
    """A contrast file and the overrides it is loaded with."""

    content: bytes
    overrides: Sequence[str] = ()


SHIPPED = {
    name: (files("deeploc.contrasts") / f"{name}.yaml").read_text(encoding="utf-8")
    for name in available()
}

KEYS = [
    *("name", "title", "modality", "source", "licence", "notes", "conditions", "contrast"),
    *("against", "balance", "read", "split", "select", "ablate", "evaluate", "evaluate_limit"),
    *("sites", "pool", "response", "tokens", "max_tokens", "lowercase", "k", "percent", "fdr"),
    *("percentile", "tail", "seed", "mode", "controls", "random", "random-global", "bottom"),
    *("opposite", "magnitude-matched"),
    *("range", "texts", "file", "images", "builtin", "download", "hub", "config", "revision"),
    *("streaming", "per", "column", "names", "where", "limit", "local", "generator", "words"),
    *("category", "size", "difficulty", "suite", "url", "manifest", "sha256", "files", "a", "b"),
    *("[key]", "(text)", "(mapping)", "0", "", "a b", "größe", "\0", "\ud800", "x" * 300),
]

WORDS = [
    *("mine", "text", "image", "a > b", "a, b > c", "b > a, a", ">", "a", "pooled", "each", "half"),
    *("none", "block", "mlp-neurons", "last", "mean", "signed", "zero", "scale:0.5", "scale:1e999"),
    *("scale:", "top", "bottom", "sentences", "rendered", "multiple-demand-paper", "faces", "hard"),
    *("https://example.org/x.zip", "http://[", "http://x:y", "0" * 64, "train", "line", "*.csv"),
    *("a**b", "../x", "/etc/passwd", "", " ", "\n", "\t", "\0", "\ud800", "\U0010ffff", "\u2028"),
    *("é" * 100, "'", '"', "{", "[", "&a", "*a", "!!python/name:os.system", "%YAML 9.9", "---"),
]

FRAGMENTS = [
    *("\0", "\ufeff", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "\x85"),
    *("\u2028", '"\\ud800"', '"\\0"', '"\\UFFFFFFFF"', '"\\x"', "&a ", "*a", "!!binary x"),
    *("!<tag> x", "%TAG", "%YAML 1.1\n", "%YAML " + "9" * 5000 + ".1\n", "---\n", "...\n", "? "),
    *(": ", "- ", "|\n", ">-\n", "[", "]", "{", "}", ",", "#", "'", '"', "\t", "\n", "\r", "  "),
    *("<<: *a", "9" * 400, "-1", "1e999"),
    *(".nan", "-.inf", "0x10", "1_000", "2020-01-01", "null", "~", "true", "yes", "{a: 1, b: -1}"),
    *("[" * 60, "{a: " * 60, "- " * 60, "a" * 2000, "[[], {}]", "{? {} : []}"),
]

scalars = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(KEYS),
    st.none(),
    st.booleans(),
    st.integers(-3, 130),
    st.integers(-(10**20), 10**20),
    st.sampled_from([2**31, 2**32, 2**63, 10**30]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=20),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
TEXTS = {"texts": ["x", "y", "z"]}


def _yaml(document: Any) -> bytes:
    """Return the document as YAML, or as JSON where PyYAML cannot write it."""
    try:
        return yaml.safe_dump(document, allow_unicode=True).encode()
    except (yaml.YAMLError, UnicodeEncodeError):
        return json.dumps(document).encode()


@st.composite
def near_valid(draw: st.DrawFn) -> bytes:
    """Return a valid document after a few changes of keys and values, some of them deep."""
    document: dict[str, Any] = {
        "name": "mine",
        "title": "t",
        "modality": draw(st.sampled_from(["text", "text", "text", "image"])),
        "source": "me",
        "conditions": {name: dict(TEXTS) for name in "abc"},
        "contrast": draw(st.sampled_from(["a > b", "a > b, c", {"a": 1, "b": -1}])),
        "read": {"pool": "mean"},
        "select": {"percent": 1},
        "ablate": {"mode": ["zero"], "controls": {"random": 3}},
        "evaluate": ["perplexity", {"choice": {"items": {"file": "a.jsonl"}}}],
    }
    for _ in range(draw(st.integers(0, 4))):
        part: Any = document
        while isinstance(part, dict) and part and draw(st.booleans()):
            deeper = part[draw(st.sampled_from(sorted(part)))]
            if not isinstance(deeper, dict):
                break
            part = deeper
        part[draw(st.sampled_from(KEYS))] = draw(values)
    return _yaml(document)


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """Return a shipped contrast file after a few random edits."""
    text = SHIPPED[draw(st.sampled_from(sorted(SHIPPED)))]
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 5, 40, 400])))
        new = draw(st.sampled_from(FRAGMENTS) | st.sampled_from(WORDS) | st.text(max_size=8))
        repeated = text[start:end] * draw(st.sampled_from([0, 0, 1, 2, 50]))
        text = text[:start] + new + repeated + text[end:]
    return text.encode("utf-8", "surrogatepass")


@st.composite
def overrides(draw: st.DrawFn) -> str:
    """Return one ``KEY=VALUE``, often of a key that exists, sometimes anything."""
    paths = st.lists(
        st.sampled_from(KEYS) | st.integers(0, 3).map(str) | st.sampled_from(["9" * 5000, "٣"]),
        min_size=1,
        max_size=4,
    ).map(".".join)
    deep = st.integers(1, 3000).map(lambda n: ".".join("a" * n))
    key = draw(paths | paths | deep | st.text(max_size=10))
    value = draw(
        st.sampled_from(WORDS)
        | st.sampled_from(FRAGMENTS)
        | st.integers().map(str)
        | values.map(lambda value: json.dumps(value, ensure_ascii=False))
    )
    return f"{key}{draw(st.sampled_from(['=', '=', '=', '']))}{value}"


contents = st.one_of(
    near_valid(),
    near_valid(),
    edited(),
    edited(),
    values.map(_yaml),
    st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.sampled_from([*FRAGMENTS, *WORDS]), max_size=8).map(
        lambda parts: "".join(parts).encode("utf-8", "surrogatepass")
    ),
    st.binary(max_size=80),
    st.integers(1, 5000).map(lambda n: b"[" * n),
)
inputs = st.builds(
    Input, contents, st.just(()) | st.just(()) | st.lists(overrides(), max_size=2).map(tuple)
)
"""What the loader is given, for the tests and for this script."""


def check(given_input: Input, folder: Path) -> None:
    """Load one input; raise whatever is not a DeeplocError with a line per problem.

    Parameters
    ----------
    given_input
        The file and its overrides.
    folder
        Where the file is written.
    """
    path = folder / "mine.yaml"
    path.write_bytes(given_input.content)
    try:
        contrast = load(path, given_input.overrides)
    except DeeplocError as error:
        message = str(error)
    else:
        _check_round_trip(contrast, folder)
        return
    assert all(line.startswith((str(path), "--set")) for line in message.split("\n")), message


def _check_round_trip(contrast: Contrast, folder: Path) -> None:
    described = json.loads(json.dumps(contrast.to_json(), allow_nan=False))
    assert Contrast.from_json(described, folder).to_json() == described
    assert contrast.comparison.positive
    assert isinstance(contrast.tasks, list)
    json.dumps(described, ensure_ascii=False).encode()


def fuzz(n: int, first_seed: int, report: Callable[[str, Input], None]) -> float:
    """Check ``n`` inputs; return the longest computing time of one, in seconds.

    Parameters
    ----------
    n
        The number of inputs.
    first_seed
        Batches of inputs have this seed and those after it.
    report
        Called with a description of each finding and its input.
    """
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:

        def one(given_input: Input) -> None:
            nonlocal longest
            started = time.process_time()
            try:
                check(given_input, Path(folder))
            except Exception as error:  # every kind is a finding, and none ends the run
                frame = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
                report(f"{place}: {str(error)[:200]!r}", given_input)
            took = time.process_time() - started
            longest = max(longest, took)
            if took > SLOW:
                report(f"slow: {took:.0f} s", given_input)

        for number in range(0, n, BATCH):
            run = given(inputs)(one)
            run = settings(
                max_examples=min(BATCH, n - number),
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )(seed(first_seed + number)(run))
            run()
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("n", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    findings: Counter[str] = Counter()

    def report(finding: str, given_input: Input) -> None:
        where = finding.partition(": ")[0]
        if not findings[where]:
            print(finding, given_input.content[:500], given_input.overrides, sep="\n  ", flush=True)
        findings[where] += 1

    started = time.perf_counter()
    longest = fuzz(options.n, options.seed, report)
    rate = options.n / (time.perf_counter() - started)
    print(f"{options.n:,} inputs, {rate:.0f} per second, longest {longest:.2f} s")
    print(f"{sum(findings.values()):,} findings at {len(findings)} places")
    for where, number in findings.most_common():
        print(f"  {number:,} x {where}")


if __name__ == "__main__":
    main()

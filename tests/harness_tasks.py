"""Task files of lm-evaluation-harness over items of the tiny language model."""

import json
from pathlib import Path
from typing import Any

import yaml

CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{start}}",
    "doc_to_choice": "{{[good, bad]}}",
    "doc_to_target": 0,
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "brier_score"}],
}
CLOZE = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{start}}",
    "doc_to_target": " {{good}}",
    "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
}
ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [
        {"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")
    ],
}
WRITING = {
    "output_type": "generate_until",
    "doc_to_text": "{{start}}",
    "doc_to_target": "{{good}}",
    "generation_kwargs": {"until": ["wug"], "max_gen_toks": 6},
    "metric_list": [{"metric": "exact_match"}],
    "filter_list": [
        {"name": "first", "filter": [{"function": "regex", "regex_pattern": r"(\w+)"},
                                     {"function": "take_first"}]},
        {"name": "last", "filter": [{"function": "regex", "regex_pattern": r"(\w+)",
                                     "group_select": -1}, {"function": "take_first"}]},
    ],
}  # fmt: skip
SAMPLED = {
    **{key: value for key, value in WRITING.items() if key != "filter_list"},
    "generation_kwargs": {"until": ["old"], "max_gen_toks": 6, "do_sample": True,
                          "temperature": 1.5},
}  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "own_choice": CHOICE,
    "own_cloze": CLOZE,
    "own_rolling": ROLLING,
    "own_writing": WRITING,
    "own_sampled": SAMPLED,
}

_STARTS = ("the cat sees", "a dog chases the", "the old bird", "a red house", "the", "the new dog")
_WORDS = ("the dog", "a cat", "bird", "under the house", "new", "sees a red bird", "the", "old")


def items(n: int = 12) -> list[dict[str, str]]:
    """Return items of words that the tiny language model knows."""
    made = []
    for i in range(n):
        start, good, bad = (
            _STARTS[i % 6],
            _WORDS[i % 8],
            _WORDS[(3 * i + 1 + (3 * i + 1 - i) // 8) % 8],
        )
        if good == bad:
            bad = "chases"
        made.append(
            {"start": start, "good": good, "bad": bad, "text": f"{start} {good} " * (2 * (n - i))}
        )
    return made


def write(folder: Path, name: str, config: dict[str, Any], rows: Any = None) -> Path:
    """Write a task file and its items beside it; return the task file."""
    lines = [json.dumps(row) for row in (items() if rows is None else rows)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    data = {"dataset_path": "json", "test_split": "test"}
    data |= {"dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}}  # type: ignore[dict-item]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"task": name, **data, **config}))
    return path

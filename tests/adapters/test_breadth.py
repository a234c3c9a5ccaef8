"""The script that checks every type of transformers: what its rows say."""

import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from breadth import breadth_row, findings
from breadth_checks import CHECKED, COLUMNS, column_marks
from breadth_models import FAMILIES
from tiny_models import tiny_config

from deeploc.testing import Outcome


def test_every_check_is_in_one_column() -> None:
    """No check is made for nothing, and none counts twice."""
    named = Counter(name for names in COLUMNS.values() for name in names)

    assert named == Counter(check.name for check in CHECKED)


def test_a_column_tells_what_failed_from_what_was_not_tried() -> None:
    """A failure is -, an ability that is not there is ., what rests on a failure is ?."""
    outcomes = {check.name: Outcome(check.name, "", "ok") for check in CHECKED}
    outcomes["zero"] = replace(outcomes["zero"], state="failed")
    outcomes["hooks"] = replace(
        outcomes["hooks"], state="skipped", reason="it rests on 'batches', which is failed"
    )
    outcomes["generate"] = replace(outcomes["generate"], state="skipped")

    assert "".join(column_marks(list(outcomes.values())).values()) == "+++-?.+"


def test_a_small_model_keeps_every_promise(tmp_path: Path) -> None:
    """A tiny GPT-2 passes, its own logits and a text beyond its context among the checks."""
    (found,) = findings(FAMILIES["causal"]("even", False), "gpt2", tmp_path)

    assert found["reason"] == ""
    assert {found[column] for column in COLUMNS} == {"+"}


@pytest.mark.parametrize(
    ("build", "built", "reason"),
    [
        (lambda _: os._exit(3), True, "the process died (exit code 3)"),
        (lambda _: {}["width"], False, "cannot be built: TRACEBACK KeyError: 'width'"),
        (lambda _: replace, True, "TRACEBACK AttributeError"),
    ],
)
def test_a_model_that_fails_is_a_row(build: Any, built: bool, reason: str) -> None:
    """A crash of the process, a config that is refused, and what is no model."""
    family = replace(FAMILIES["causal"]("unlike", False), builds=[build])
    row = breadth_row(family, "gpt2")

    assert row["built"] == built
    assert row["reason"].startswith(reason)


@pytest.mark.parametrize(("sizes", "n"), [("unlike", 5), ("even", 3)])
def test_widths_are_unlike_each_other_or_coincide(sizes: str, n: int) -> None:
    """The width of a mixture, of an expert and of an MLP, its experts and its pairs of heads."""
    config = tiny_config("qwen3_moe", sizes)
    numbers = {config.hidden_size, config.moe_intermediate_size, config.intermediate_size}

    assert len(numbers | {config.num_experts, config.num_key_value_heads}) == n

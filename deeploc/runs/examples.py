"""The stage that shows what the model says to a few inputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from deeploc.analysis.examples import MAX_TOKENS, chosen_inputs, make_examples, n_steps
from deeploc.analysis.states import AMPLIFY
from deeploc.contrast.model import Contrast
from deeploc.core.examples import Examples
from deeploc.errors import DeeplocError
from deeploc.runs.examples_file import NAME
from deeploc.runs.folder import RunFolder
from deeploc.runs.localizing import shared_inputs
from deeploc.runs.run import Run
from deeploc.runs.saving import Save
from deeploc.runs.stages import remove


@dataclass(frozen=True)
class ExamplesStage:
    """Continues a few prompts, or classifies a few images, intact, ablated, amplified and random.

    They decide nothing: what fails here is told, and the run goes on.

    Parameters
    ----------
    contrast
        Whose first mode, prompts and conditions are shown; that of the run.
    """

    contrast: Contrast

    name: ClassVar[str] = "examples"
    files: ClassVar[tuple[str, ...]] = (NAME,)
    needs: ClassVar[tuple[str, ...]] = ("localize", "ranking", "select")
    algorithm: ClassVar[int] = 1
    protected: ClassVar[bool] = False

    def inputs(self, run: Run) -> Mapping[str, Any]:
        """Return what the model is given, what is done to it, and what decides that."""
        chosen = chosen_inputs(self.contrast, run.stimuli.held_out)
        return {
            **shared_inputs(run),
            "given": [[name, item.id, item.content_key] for name, item in chosen],
            "modes": [self.contrast.ablate.mode[0], AMPLIFY],
            "tokens": MAX_TOKENS,
            "seed": run.setup.seed,
        }

    def make(self, run: Run, save: Save) -> None:
        """Let the model speak."""
        made = self._made(run)
        warnings = [f"no examples of what the model says: {made.missing}"]
        save({NAME: _text(made)}, {"warnings": warnings} if made.missing else {})

    def _made(self, run: Run) -> Examples:
        chosen, mode = chosen_inputs(self.contrast, run.stimuli.held_out), self.contrast.ablate.mode
        if not chosen:
            return Examples()
        try:
            with run.reporter.progress("examples", n_steps(run)) as done:
                return make_examples(run, chosen, mode[0], seed=run.setup.seed, on_progress=done)
        except DeeplocError as error:
            return Examples(missing=str(error))

    @staticmethod
    def retire(folder: RunFolder) -> None:
        """Remove them."""
        remove(folder, ExamplesStage.files)


def _text(examples: Examples) -> str:
    text = json.dumps(examples.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode("utf-8", "replace").decode()  # a plugin may return half a character

"""What a model says intact, ablated and under a control: for reading, not for measuring."""

from dataclasses import dataclass

from deeploc import select
from deeploc.ablation import Ablation
from deeploc.adapter import Generates, Sampling
from deeploc.errors import MaskError
from deeploc.experiment import Run
from deeploc.task import require
from deeploc.units import UnitMask


@dataclass(frozen=True)
class Dose:
    """What to ablate: ``percent`` (0-100) of the sites of one kind, or the run's own selection.

    Without ``kind`` it is the first kind of site that the run has.
    """

    mode: str = "zero"
    percent: float | None = None
    kind: str | None = None


def continuations(
    run: Run, prompt: str, dose: Dose, *, max_tokens: int, temperature: float, seed: int
) -> dict[str, str]:
    """Return how the model continues ``prompt``: intact, ablated, under a matched random control.

    The three are sampled with the same ``seed``, which also draws the control.

    Raises
    ------
    TaskError
        If the model cannot generate text.
    MaskError
        If the run has no such kind of site or the dose holds no unit.
    """
    model = require(run.adapter, Generates, "ablate --prompt")
    sampling = Sampling(max_tokens, temperature, seed)
    mask, label = _mask(run, dose)
    masks = {f"ablated: {label}": mask, "control: random": select.random_like(mask, (seed, 0))}
    texts = {"intact": model.generate(prompt, sampling)}
    for name, each in masks.items():
        with run.adapter.ablated(Ablation.of(dose.mode, each, run.stat_map)):
            texts[name] = model.generate(prompt, sampling)
    return texts


def _mask(run: Run, dose: Dose) -> tuple[UnitMask, str]:
    kind = dose.kind or run.mask.layout.kinds[0]
    if kind not in run.mask.layout.kinds:
        kinds = ", ".join(run.mask.layout.kinds)
        raise MaskError(f"this run has no sites of kind {kind!r}; it has {kinds}")
    among = run.mask.layout.of_kind(kind)
    if dose.percent is None:
        mask = run.mask.of_kind(kind)
    else:
        mask = select.top_percent(run.stat_map, dose.percent, among)
    if not len(mask):
        raise MaskError(f"no unit of {kind} to ablate at this dose; give a larger --percent")
    return mask, f"{len(mask)} units of {kind}, {dose.mode}"

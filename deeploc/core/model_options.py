"""How a model is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Device = str
DType = Literal["auto", "float32", "bfloat16", "float16"]
Modality = Literal["text", "image"]


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded; the shared options of every command.

    Parameters
    ----------
    device
        ``auto`` (CUDA, then MPS, then the CPU) or a name of torch.
    dtype
        ``auto`` (float32 on the CPU, that of the checkpoint elsewhere) or a name.
    batch_size
        Largest number of stimuli per forward pass; ``None``: chosen by the adapter.
    untrained
        Load the same architecture with random weights.
    seed
        Of the random weights.
    weights
        A local file of weights for a named architecture, if the adapter takes one.
    revision
        Branch, tag or commit of the model on the hub; ``None``: its main branch.
    trust_remote_code
        Run the Python code that a checkpoint contains; otherwise it is never run.
    device_map
        How the parts of a model are spread over devices, by accelerate: ``auto`` and other
        strategies of its, one device, or a JSON file with the device of every module; ``None``:
        all of them are on ``device``.
    modality
        What the model will be shown, where it is known: of a model that takes texts and images in
        towers of their own, that tower is read.
    """

    device: Device = "auto"
    dtype: DType = "auto"
    batch_size: int | None = None
    untrained: bool = False
    seed: int = 0
    weights: Path | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    device_map: str | None = None
    modality: Modality | None = None

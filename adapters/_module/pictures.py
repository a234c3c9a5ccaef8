"""What a user's module is shown, as pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from deeploc.adapters._torch.pictures import as_picture
from deeploc.core.pictures import Picture
from deeploc.stimuli import Stimulus
from deeploc.stimuli.image_decode import decode

from .inputs import Preprocess


class ShowsInputs:
    """An adapter whose function ``preprocess`` makes images of files."""

    _preprocess: Preprocess

    def pictures(self, stimuli: Sequence[Stimulus]) -> Iterator[Picture]:
        """Yield every image as ``preprocess`` makes it, from its smallest to its largest value.

        Parameters
        ----------
        stimuli
            Image files; those of which ``preprocess`` makes no map are shown whole.
        """
        for stimulus in stimuli:
            inputs = self._preprocess([stimulus.content])
            if isinstance(inputs, Tensor) and inputs.ndim == 4:
                yield as_picture(inputs[0].movedim(0, -1).float().cpu().numpy())
            else:
                yield np.asarray(decode(Path(stimulus.content)))

"""Stimuli to check an adapter with: shipped texts of unlike lengths, or rendered images."""

from collections.abc import Sequence
from pathlib import Path

from deeploc.core.adapter import Adapter
from deeploc.core.readout import Readout
from deeploc.core.units import Layout
from deeploc.errors import AdapterError, SiteError
from deeploc.generators.registry import generate
from deeploc.stimuli import Stimulus

TEXTS = (
    "the dog sees",
    "a small bird sang near the old red barn while it rained",
    "no",
    "three farmers walked home",
    "the letter that she wrote to her brother last summer never came back from the city",
    "we know why",
)
"""Texts of unlike lengths."""

IMAGES = (("faces", 64), ("houses", 96), ("letters", 64), ("tools", 48))
"""Category and size in pixels of rendered images."""


def check_texts() -> list[Stimulus]:
    """Return the texts."""
    return [Stimulus(f"text:{i}", text) for i, text in enumerate(TEXTS)]


def check_images() -> list[Stimulus]:
    """Return images of different categories and sizes, rendered into the cache."""
    stimuli = []
    for category, size in IMAGES:
        (record,) = generate("rendered", 1, 0, {"category": category, "size": size})
        stimuli.append(Stimulus(f"image:{category}", Path(record["image"])))
    return stimuli


def stimuli_for(adapter: Adapter, readout: Readout) -> list[Stimulus]:
    """Return stimuli that an adapter can read: texts where it takes them, else images.

    Parameters
    ----------
    adapter
        The adapter; one small reading of each kind is tried.
    readout
        How it is read.

    Raises
    ------
    AdapterError
        If it can read neither, or its first site cannot be read at all; says why.
    """
    reasons = []
    for kind, stimuli in (("texts", check_texts()), ("images", check_images())):
        if (reason := _refusal(adapter, stimuli[:2], readout)) is None:
            return stimuli
        reasons.append(f"{kind}: {reason}")
    raise AdapterError(
        f"the adapter reads neither texts nor images ({'; '.join(reasons)}); name stimuli of its "
        "own with --stimuli"
    )


def _refusal(adapter: Adapter, stimuli: Sequence[Stimulus], readout: Readout) -> str | None:
    """Return why an adapter cannot read stimuli, None if it can."""
    layout = Layout(adapter.sites.sites[:1])
    try:
        for _ in adapter.activations(stimuli, layout, readout):
            pass
    except SiteError:  # no stimulus would do
        raise
    except Exception as error:  # a stimulus of the wrong kind fails in the adapter's own code
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None

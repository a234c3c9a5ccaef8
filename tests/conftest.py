import numpy as np
import pytest

from deeploc.units import Layout, Site, StatMap


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def stat_map_of(t: np.ndarray, layout: Layout) -> StatMap:
    """Return a StatMap whose t is given and whose other vectors are plain."""
    ones = np.ones(layout.n_units)
    return StatMap(layout, t=t, df=9 * ones, p=ones / 2, q=ones / 2, d=t / 3, baseline=ones / 4)


@pytest.fixture
def layout() -> Layout:
    """Two kinds of site, two blocks each: 4 + 4 neurons, 6 + 6 block units."""
    return Layout(
        (
            Site("h.0.mlp.down", "mlp-neurons", 4, "input"),
            Site("h.1.mlp.down", "mlp-neurons", 4, "input"),
            Site("h.0", "block", 6),
            Site("h.1", "block", 6),
        )
    )

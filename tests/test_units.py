"""Sites and layouts: names, and the table that every artefact carries."""

import pytest

from deeploc.core.units import Layout, Site, parse_site_name

SITES = (
    Site("h.0", "block", 8),
    Site("h.0.mlp.down", "mlp-neurons", 32, "input"),
    Site("h.1", "block", 8, call=2),
    Site("h.1.attn.out", "heads", 4, "input", call=2, width=16),
)


@pytest.mark.parametrize(
    ("site", "name"),
    list(zip(SITES, ["h.0", "h.0.mlp.down:input", "h.1#2", "h.1.attn.out#2:input"], strict=True)),
)
def test_a_name_says_path_call_and_tap(site: Site, name: str) -> None:
    """The name of a site holds everything that addresses it."""
    assert site.name == name
    assert parse_site_name(name) == (site.path, site.call, site.tap)


def test_a_layout_survives_its_table() -> None:
    """A layout is read back from its site table, heads with the scalars of each."""
    layout = Layout(SITES)

    assert Layout.from_table(layout.table()) == layout
    assert [row.get("width") for row in layout.table()] == [None, None, None, 16]


def test_every_scalar_of_a_head_can_be_a_unit() -> None:
    """A layout of scalars has the same sites with the units of their tensors."""
    scalars = Layout(SITES).scalars()

    assert [site.n_units for site in scalars.sites] == [8, 32, 8, 64]
    assert [site.name for site in scalars.sites] == [site.name for site in SITES]

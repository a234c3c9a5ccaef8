"""What the methods paragraph cites."""

from deeploc.report.references import Bibliography


def test_only_what_was_cited_is_listed_once():
    """In the order of first citation, with the DOI or arXiv number of each."""
    bibliography = Bibliography()
    for key in ("phipson2010", "sun2024", "phipson2010"):
        bibliography.cite(key)
    text = bibliography.bibtex()

    assert text.count("@") == 2
    assert text.index("10.2202/1544-6115.1585") < text.index("2402.17762")


def test_a_work_that_a_text_names_is_listed():
    """The source of a contrast names a DOI: its entry is listed, the text stays as it is."""
    bibliography = Bibliography()
    source = "Stigliani et al. (2015), doi:10.1523/jneurosci.4822-14.2015; arXiv:2411.02280"

    assert bibliography.cite_known(source) == source
    assert "@article{stigliani2015," in bibliography.bibtex()
    assert "@inproceedings{alkhamissi2025," in bibliography.bibtex()

"""What cells will need, told without loading their weights."""

from deeploc.sweep.work import Work


def memory_of(work: Work) -> int | None:
    """Return how many bytes of memory a worker needs, None where that is not known.

    Parameters
    ----------
    work
        The cells of one model.
    """
    return None

"""Which positions of a site are places in an image, and how many rows and columns they form."""

from dataclasses import dataclass

from torch import nn

from deeploc.adapters._torch.shape import Shape
from deeploc.core.site import Grid

from .trace import Trace


@dataclass(frozen=True)
class Grids:
    """The grids of a network of images, from the trace of one forward pass.

    A map of a site, (image, unit, row, column) or (image, row, column, unit), tells its grid if a
    convolution that sees neighbours (a kernel of more than one row and column) has a map of that
    size, or it has the shape of the image to within one row or column. A sequence does not: its
    positions that depend on the image are those of such a convolution, if there are as many, else
    the rows and columns that come closest to the shape of the image.

    Parameters
    ----------
    n_images
        Number of images in the pass.
    image
        Rows and columns of the input; ``None``: it is no image.
    maps
        Rows and columns of every convolution that sees neighbours.
    own
        Length of a sequence -> the first and the number of its positions that depend on the image;
        of other lengths all do.
    """

    n_images: int
    image: tuple[int, int] | None
    maps: frozenset[tuple[int, int]]
    own: dict[int, tuple[int, int]]

    @classmethod
    def of(cls, model: nn.Module, trace: Trace, n_images: int | None) -> "Grids":
        """Return the grids of a model.

        Parameters
        ----------
        model
            The model.
        trace
            Of a pass of at least two different images.
        n_images
            Number of images in it; ``None``: the stimuli are no images.
        """
        shape = trace[""].input_shape if "" in trace else ()
        image = shape[2:] if n_images and len(shape) == 4 else ()
        own: dict[int, tuple[int, int]] = {}
        for call in trace.calls:
            if call.image_tokens is not None:
                own.setdefault(call.input_shape[1], call.image_tokens)
        maps = {
            (call.output_shape[2], call.output_shape[3])
            for call in trace.calls
            if len(call.output_shape) == 4 and _sees_neighbours(model.get_submodule(call.path))
        }
        pair = (image[0], image[1]) if len(image) == 2 else None
        return cls(n_images or 0, pair, frozenset(maps), own)

    def at(self, shape: Shape, axis: int) -> Grid | None:
        """Return the grid of a site, ``None`` where it has none.

        Parameters
        ----------
        shape
            Of its tensor, with the images first.
        axis
            That of the units.
        """
        if self.image is None or shape[0] != self.n_images:  # windows stand on the first axis
            return None
        places = [size for i, size in enumerate(shape) if i not in (0, axis % len(shape))]
        if len(places) == 2:
            rows, columns = places
            is_map = (rows, columns) in self.maps or self._off(rows, columns) <= 1
            return Grid(rows, columns) if is_map else None
        return self._of_sequence(places[0]) if len(places) == 1 else None

    def _of_sequence(self, length: int) -> Grid | None:
        start, n = self.own.get(length, (0, length))
        known = [(rows, columns) for rows, columns in self.maps if rows * columns == n]
        factors = [(rows, n // rows) for rows in range(1, n + 1) if n % rows == 0]
        fitting = known or [pair for pair in factors if self._off(*pair) <= 1]
        if not fitting:
            return None
        rows, columns = min(fitting, key=lambda pair: self._off(*pair))
        return Grid(rows, columns, start)

    def _off(self, rows: int, columns: int) -> float:
        """Return by how many rows, or columns if fewer, a grid is off the shape of the image."""
        assert self.image is not None
        aspect = self.image[0] / self.image[1]
        return min(abs(rows - columns * aspect), abs(columns - rows / aspect))


def _sees_neighbours(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and min(module.kernel_size) > 1

"""Perceptual hashes of images of any size: by cosines, by differences, by wavelets; 256 bits each.

All take means over the cells of a grid, in float64, where ImageHash resizes by a filter and rounds to 8 bits: rounding
would turn a difference in the seventh digit into a whole grey level. A bit is set where a value exceeds its
threshold by more than a margin. So values that ought to be equal, as on a flat background, give zeros and no noise, and
only what lies within a difference of the margin can change a bit.

What changes none of them: repeating every pixel k times, the batch that an image is in, and how it is stored (bytes, or
floats of the same values). What does: shifts by a pixel, rotations, mirror images, crops.

An image of fewer pixels than there are bits, as the digits of 8x8, still has 256: its pixels lie in several cells, so
bits repeat others or their opposites, and 8x8 pixels have no more than 64 to say. Distances are then larger by the
repetitions (about four), for the same picture and for others alike; calibration sees both.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer_client.digests.bits import BITS, Digests, packed
from trainer_client.digests.pixels import Grey, cell_means, grey_images

SIDE = 16
"""Bits a row and a column."""

GRID = 4 * SIDE
"""Cells a side that the cosines are taken of."""

COSINE_MARGIN = 2.0**-20
"""Of a coefficient's largest magnitude: a hundred times what float32's rounding of every pixel makes."""

LEVEL_MARGIN = 2.0**-9
"""Half a grey level in 256, less a little: a difference of 8-bit values is never within it."""


def dct_digests(outputs: Any) -> Digests:
    """Signs of the 16x16 lowest frequencies of the discrete cosine transform (Ito and Kiya 2008; Zauner 2010).

    Bit 16u + v is set where the coefficient of u waves down and v across is positive. The image is first averaged on a
    grid of 64x64. ImageHash's `phash` compares the same coefficients with their median; the sign needs no other
    coefficient, so that one which changes cannot move others' thresholds.

    Invariant to: multiplying all values by a positive number, and adding one to all (nothing being cut at black or
    white), as long as the coefficients stay beyond the margin of 2^-20. Changes little with: compression, noise, blur.
    Not invariant to: inversion (all but the margin's bits change), shifts, and what moves brightness unevenly.

    Args:
        outputs: images, as `pixels.grey_images` takes them.

    Returns:
        uint8 (n, 32).

    Raises:
        InvalidData: what is no image.
    """
    return _digests(outputs, lambda image: cosines(image) > COSINE_MARGIN)


def difference_digests(outputs: Any) -> Digests:
    """Whether brightness grows from a cell to the next, in 16 rows of 17 (Krawetz 2013; ImageHash's `dhash`).

    Invariant to: adding a value to all; multiplying all by a positive number, as long as differences stay beyond half a
    grey level. Changes little with: slow gradients, compression. Not invariant to: inversion, vertical structure alone
    (only neighbours in a row are compared), noise on a ground that is flat but for it.

    Args and errors as `dct_digests`. Of 16x17 pixels of uint8, the bits are ImageHash's.
    """
    return _digests(outputs, lambda image: np.diff(_means(image, SIDE, SIDE + 1), axis=1) > LEVEL_MARGIN)


def wavelet_digests(outputs: Any) -> Digests:
    """Whether Haar's approximation at 16x16 exceeds its median (Haar 1910; ImageHash's `whash`).

    Haar's approximation is the mean of each cell, and so defined for sizes that are no power of two as well.

    Invariant to: adding a value to all; multiplying all by a positive number, as long as the distances to the median
    stay beyond half a grey level. Changes little with: noise and compression, which cells average away. Not invariant
    to: inversion, shifts, and what changes the median, as a larger border.

    Args and errors as `dct_digests`.
    """

    def bits(image: Grey) -> NDArray[np.bool_]:
        means = _means(image, SIDE, SIDE)
        above: NDArray[np.bool_] = means > np.median(means) + LEVEL_MARGIN
        return above

    return _digests(outputs, bits)


def cosines(image: Grey) -> NDArray[np.float64]:
    """Return the 16x16 lowest frequencies of an image: means of its cells times two cosines, at most 1."""
    height, width = image.shape
    coefficients: NDArray[np.float64] = _cosines_of(height) @ image @ _cosines_of(width).T
    return coefficients


def _digests(outputs: Any, bits_of: Any) -> Digests:
    rows = [bits_of(image).reshape(BITS) for image in grey_images(outputs)]
    return packed(np.array(rows, dtype=np.bool_).reshape(len(rows), BITS))


def _means(image: Grey, rows: int, columns: int) -> NDArray[np.float64]:
    height, width = image.shape
    means: NDArray[np.float64] = cell_means(height, rows) @ image @ cell_means(width, columns).T
    return means


@lru_cache(maxsize=16)
def _cosines_of(pixels: int) -> NDArray[np.float64]:
    """The matrix, (16, pixels), from a row of pixels to its lowest frequencies (Ahmed et al. 1974, type II)."""
    places = (2 * np.arange(GRID) + 1) * (np.pi / (2 * GRID))
    matrix: NDArray[np.float64] = np.cos(np.arange(SIDE)[:, None] * places) / GRID @ cell_means(pixels, GRID)
    matrix.flags.writeable = False
    return matrix

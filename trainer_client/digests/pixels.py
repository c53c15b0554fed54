"""Images of any size and form as grey values, and these as means over the cells of a grid."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from market.protocol.errors import InvalidData

Grey = NDArray[np.float64]
"""(h, w), 0 black to 1 white."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Red's, green's and blue's shares of brightness (ITU-R BT.601, as Pillow's and ImageHash's)."""

LARGEST_SIDE = 1 << 14
"""Pixels: a matrix of cells beyond it would not be small any more."""

_DEEP_MODES = ("I", "F")


def grey_images(outputs: Any) -> Iterator[Grey]:
    """Yield each image as grey values.

    Args:
        outputs: an array (n, h, w) or (n, h, w, c), or a sequence of images that may be of different sizes, each an
            array (h, w) or (h, w, c) or a file's bytes. Values are uint8, or floats in [0, 1]. Of the channels c, one
            is grey, two are grey and opacity, three are red, green and blue, four these and opacity: what is not
            opaque lies on black.

    Raises:
        InvalidData: it is nothing of the kind; the message names the image and the value.
    """
    if isinstance(outputs, np.ndarray) and outputs.ndim not in (3, 4):
        raise InvalidData(f"images have the shape {outputs.shape}, expected (n, h, w) or (n, h, w, c)")
    if isinstance(outputs, (bytes, str)) or not isinstance(outputs, (np.ndarray, Sequence)):
        raise InvalidData(f"images are {type(outputs).__name__}, expected an array or a sequence of images")
    for index, image in enumerate(outputs):
        yield _grey(_decoded(image, index) if isinstance(image, bytes) else array_of(image, f"image {index}"), index)


@lru_cache(maxsize=16)
def cell_means(pixels: int, cells: int) -> NDArray[np.float64]:
    """Return the matrix, (cells, pixels), that takes a row of pixels to its means over cells of equal width.

    A pixel counts in a cell by the part of the cell that it covers, so an image whose every pixel is repeated has the
    same means, and an image that is smaller than the grid has its pixels in several cells.
    """
    edges = np.arange(cells + 1)[:, None] * pixels  # in units of 1 / (cells * pixels) of the image: whole numbers
    sides = np.arange(pixels + 1)[None, :] * cells
    covered = np.minimum(edges[1:], sides[:, 1:]) - np.maximum(edges[:-1], sides[:, :-1])
    matrix: NDArray[np.float64] = np.maximum(covered, 0) / pixels
    matrix.flags.writeable = False
    return matrix


def array_of(sample: Any, name: str) -> NDArray[Any]:
    """Return a sample as an array.

    Raises:
        InvalidData: its rows are of different lengths, or it is nothing that numpy knows.
    """
    try:
        return np.asarray(sample)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"{name} is no array: {error}") from error


def _decoded(content: bytes, index: int) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            if max(image.size) > LARGEST_SIDE:
                raise InvalidData(
                    f"image {index} has {image.width}x{image.height} pixels, expected {LARGEST_SIDE} a side"
                )
            if image.mode.startswith(_DEEP_MODES):
                raise InvalidData(f"image {index} has pixels of mode {image.mode}, expected 8 bits a channel")
            return np.asarray(image.convert("RGBA"))
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        raise InvalidData(f"image {index}: {len(content)} bytes that are no image ({error})") from error


def _grey(image: NDArray[Any], index: int) -> Grey:
    name = f"image {index}"
    if image.ndim not in (2, 3) or 0 in image.shape or max(image.shape) > LARGEST_SIDE:
        raise InvalidData(
            f"{name} has the shape {image.shape}, expected (h, w) or (h, w, c) of 1..{LARGEST_SIDE} pixels"
        )
    values = _values(image, name)
    if image.ndim == 2:
        return values
    channels = image.shape[2]
    if channels > 4:
        raise InvalidData(f"{name} has {channels} channels, expected 1 to 4: its shape is {image.shape}")
    grey: Grey = values[..., :3] @ LUMA if channels > 2 else values[..., 0]
    return grey * values[..., -1] if channels in (2, 4) else grey


def _values(image: NDArray[Any], name: str) -> Grey:
    if image.dtype == np.uint8:
        return image / 255.0
    if not np.issubdtype(image.dtype, np.floating):
        raise InvalidData(f"{name} has values of type {image.dtype}, expected uint8, or floats in [0, 1]")
    values = image.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise InvalidData(f"{name} has values of {low:.6g} to {high:.6g}, expected numbers in [0, 1]")
    return values

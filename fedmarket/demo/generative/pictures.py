"""Images and digests as small pictures that a page carries within itself."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedmarket.demo.generative.result import Images

DIGEST_SIDE = 16
"""A digest of 256 bits is a square of so many."""

SET, CLEAR = (88, 104, 112), (226, 228, 224)
SET_APART, CLEAR_APART = (190, 62, 20), (246, 182, 150)
"""Bits that differ from the accepted digest's are red, set or not."""


def image_url(image: NDArray[np.float32]) -> str:
    """A grey image, float32 (height, width) in 0..1, as the URL of a PNG."""
    grey = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return _url(Image.fromarray(grey))


def digest_url(digest: bytes, accepted: bytes | None) -> str:
    """A digest as a square of its bits, those apart that differ from the accepted one, as the URL of a PNG."""
    bits = _bits(digest)
    apart = np.zeros_like(bits) if accepted is None else bits != _bits(accepted)
    colours = np.array([[CLEAR, SET], [CLEAR_APART, SET_APART]], dtype=np.uint8)
    return _url(Image.fromarray(colours[apart.astype(int), bits.astype(int)]))


def strip(images: Images) -> NDArray[np.float32]:
    """Images side by side as one, float32 (height, n * width)."""
    return np.concatenate(list(images), axis=1)


def _bits(digest: bytes) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(digest, np.uint8)).reshape(DIGEST_SIDE, DIGEST_SIDE).astype(bool)


def _url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")

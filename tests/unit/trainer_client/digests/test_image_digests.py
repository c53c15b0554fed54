"""Perceptual hashes: what changes none of their bits, what does, and that they are the ones ImageHash has."""

from __future__ import annotations

import io
from typing import Any

import imagehash
import numpy as np
import pytest
import pywt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from market.protocol.errors import InvalidData
from trainer_client.digests import DIGESTS, hamming, hamming_matrix
from trainer_client.digests.images import COSINE_MARGIN, LEVEL_MARGIN, cosines
from trainer_client.digests.pixels import cell_means, grey_images

Images = NDArray[np.float64]
KINDS = ("dct", "difference", "wavelet")
every_kind = pytest.mark.parametrize("name", KINDS)

sides = st.integers(1, 40)
levels = st.tuples(sides, sides).flatmap(lambda shape: arrays.arrays(np.uint8, (1, *shape)))


def digest(name: str, images: Any) -> NDArray[np.uint8]:
    return DIGESTS[name].digest(images)


def bits(digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.unpackbits(digests, axis=1).astype(bool)


def pictures(count: int, side: int = 64, seed: int = 0) -> Images:
    """Of 20x20 frequencies, weaker as they grow, as in photographs; all of their values within 0.2..0.8."""
    random = np.random.default_rng(seed)
    waves = random.standard_normal((count, 20, 20)) / (1 + np.add.outer(np.arange(20), np.arange(20)))
    basis = np.cos(np.arange(20)[:, None] * (np.arange(side) + 0.5) * np.pi / side)
    images = basis.T @ waves @ basis
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    return 0.2 + 0.6 * (images - low) / (high - low)


@every_kind
@given(image=levels)
def test_bytes_and_floats_of_the_same_values_have_one_digest(name: str, image: NDArray[np.uint8]) -> None:
    assert np.array_equal(digest(name, image), digest(name, image / 255.0))
    assert np.array_equal(digest(name, image), digest(name, image[..., None]))


@every_kind
@given(image=levels, times=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_an_image_with_each_pixel_repeated_has_the_same_digest(
    name: str, image: NDArray[np.uint8], times: tuple[int, int]
) -> None:
    larger = image.repeat(times[0], axis=1).repeat(times[1], axis=2)
    assert np.array_equal(digest(name, image), digest(name, larger))


@every_kind
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (17, 93), (200, 150)])
def test_differences_in_the_seventh_digit_change_no_bit(name: str, height: int, width: int) -> None:
    random = np.random.default_rng(height)
    images = random.random((40, height, width))
    images[:, : height // 2] = 0.25  # a flat ground, where nothing but noise would tell pixels apart
    noisy = images + 1e-7 * random.standard_normal(images.shape)
    assert hamming(digest(name, images), digest(name, np.clip(noisy, 0, 1))).sum() == 0


@every_kind
def test_brighter_images_have_the_same_digest_unless_they_are_cut(name: str) -> None:
    images = pictures(30)
    assert np.array_equal(digest(name, images), digest(name, images + 0.125))
    assert hamming(digest(name, images), digest(name, np.clip(images + 0.6, 0, 1))).min() > 0


@pytest.mark.parametrize(("name", "within"), [("dct", 3), ("difference", 20), ("wavelet", 8)])
@pytest.mark.parametrize("contrast", [0.5, 0.8, 1.25])
def test_contrast_changes_only_what_comes_within_the_margin_or_out_of_it(
    name: str, within: int, contrast: float
) -> None:
    images = pictures(30)
    assert hamming(digest(name, images), digest(name, images * contrast)).max() <= within


@every_kind
def test_an_inverted_image_has_nearly_the_opposite_digest(name: str) -> None:
    images = pictures(30)
    assert hamming(digest(name, images), digest(name, 1 - images)).min() > 150


@every_kind
def test_other_pictures_are_farther_than_the_same_with_noise_or_fewer_levels(name: str) -> None:
    images = pictures(40)
    digests = digest(name, images)
    others = hamming_matrix(digests, digests)[np.triu_indices(40, 1)]
    noise = 0.004 * np.random.default_rng(1).standard_normal(images.shape)
    assert np.quantile(hamming(digests, digest(name, images + noise)), 0.95) < others.min()
    assert hamming(digests, digest(name, np.round(images * 255).astype(np.uint8))).max() < others.min()


def test_cosines_are_those_that_imagehash_compares_with_their_median() -> None:
    for image in np.random.default_rng(2).integers(0, 256, (30, 64, 64), dtype=np.uint8):
        coefficients = cosines(image / 255.0)
        theirs = imagehash.phash(Image.fromarray(image), hash_size=16).hash
        assert np.array_equal(coefficients > np.median(coefficients), theirs)
        assert np.array_equal(bits(digest("dct", image[None])).reshape(16, 16), coefficients > COSINE_MARGIN)


def test_differences_of_17_pixels_by_16_are_imagehashs() -> None:
    for image in np.random.default_rng(3).integers(0, 256, (30, 16, 17), dtype=np.uint8):
        theirs = imagehash.dhash(Image.fromarray(image), hash_size=16).hash
        assert np.array_equal(bits(digest("difference", image[None])).reshape(16, 16), theirs)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_wavelets_are_imagehashs_but_for_what_is_within_the_margin_of_the_median(side: int) -> None:
    for image in np.random.default_rng(4).integers(0, 256, (30, side, side), dtype=np.uint8):
        theirs = imagehash.whash(Image.fromarray(image), hash_size=16).hash
        level = (side // 16).bit_length() - 1
        approximation = pywt.wavedec2(image / 255.0, "haar", level=level)[0] / 2**level
        assert np.allclose(cell_means(side, 16) @ (image / 255.0) @ cell_means(side, 16).T, approximation)
        clear = np.abs(approximation - np.median(approximation)) > LEVEL_MARGIN
        assert clear.mean() > 0.8
        assert np.array_equal(bits(digest("wavelet", image[None])).reshape(16, 16)[clear], theirs[clear])


@given(sides, st.integers(1, 40))
def test_means_of_cells_keep_the_mean_of_all(pixels: int, cells: int) -> None:
    matrix = cell_means(pixels, cells)
    assert np.allclose(matrix.sum(axis=1), 1)
    assert np.allclose(matrix.sum(axis=0), cells / pixels)


def test_means_of_cells_are_those_of_the_parts_that_each_pixel_covers() -> None:
    # Five cells of 3/5 of a pixel: the second has 2/3 of its width in the first pixel.
    expected = [[1, 0, 0], [2 / 3, 1 / 3, 0], [0, 1, 0], [0, 1 / 3, 2 / 3], [0, 0, 1]]
    assert np.allclose(cell_means(3, 5), expected)


@pytest.mark.parametrize(("name", "distinct"), [("dct", 64), ("difference", 56), ("wavelet", 64)])
def test_8x8_pixels_have_a_quarter_of_the_bits_to_say_and_the_others_repeat_them(name: str, distinct: int) -> None:
    columns = bits(digest(name, np.random.default_rng(0).random((400, 8, 8)))).T
    columns = columns[columns.any(axis=1)]
    said: list[NDArray[np.bool_]] = []
    for column in columns:
        # But for what is within the margin, a bit is another one or its opposite.
        if all(0.05 < (column ^ other).mean() < 0.95 for other in said):
            said.append(column)
    assert len(said) == distinct
    assert len(columns) > 3.4 * distinct


def test_digests_of_different_digits_of_8x8_are_apart() -> None:
    digits = load_digits().images[:200] / 16
    for name, least in (("dct", 8), ("difference", 4), ("wavelet", 0)):
        digests = digest(name, digits)
        distances = hamming_matrix(digests, digests)[np.triu_indices(200, 1)]
        assert distances.min() >= least
        assert np.median(distances) > 50


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
@every_kind
def test_images_of_any_channels_and_their_files_have_one_digest(name: str, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(channels).integers(0, 256, (30, 21, channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode).save(file, "PNG")
    assert np.array_equal(digest(name, pixels[None]), digest(name, [file.getvalue()]))


def test_grey_is_what_the_eye_makes_of_colours_and_what_is_not_opaque_lies_on_black() -> None:
    (grey,) = grey_images(np.array([[[[1.0, 0.5, 0.25, 0.5]]]]))
    assert grey[0, 0] == pytest.approx((0.299 + 0.587 * 0.5 + 0.114 * 0.25) / 2)


def test_images_of_several_sizes_are_digested_together() -> None:
    small, large = np.random.default_rng(1).random((12, 9)), np.random.default_rng(2).random((70, 90, 3))
    both = digest("dct", [small, large])
    assert np.array_equal(both, np.concatenate([digest("dct", small[None]), digest("dct", large[None])]))


def with_value(value: float) -> NDArray[np.float32]:
    images = np.full((2, 9, 9), 0.5, np.float32)
    images[1, 3, 4] = value
    return images


@every_kind
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ([b"no image"], "image 0: 8 bytes that are no image"),
        ([b""], "image 0: 0 bytes that are no image"),
        ([b"\x89PNG\r\n\x1a\n" + bytes(40)], "image 0: 48 bytes that are no image"),
        (with_value(np.nan), "image 1 has values of nan to nan"),
        (with_value(np.inf), "image 1 has values of 0.5 to inf"),
        (with_value(1.5), r"image 1 has values of 0.5 to 1.5, expected numbers in \[0, 1\]"),
        (with_value(-0.25), "image 1 has values of -0.25 to 0.5"),
        (np.zeros((1, 8, 8), np.int64), "image 0 has values of type int64"),
        (np.zeros((1, 8, 8), np.complex128), "image 0 has values of type complex128"),
        (np.zeros((8, 8)), r"images have the shape \(8, 8\)"),
        (np.zeros((1, 0, 8)), r"image 0 has the shape \(0, 8\)"),
        (np.zeros((1, 8, 8, 5)), r"image 0 has 5 channels, expected 1 to 4: its shape is \(8, 8, 5\)"),
        ([np.zeros((1, 1 << 15))], r"image 0 has the shape \(1, 32768\)"),
        ([[[0.5, 0.5], [0.5]]], "image 0 is no array"),
        ([np.zeros(8)], r"image 0 has the shape \(8,\)"),
    ],
)
def test_what_is_no_image_is_named(name: str, wrong: Any, named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        digest(name, wrong)


def test_a_cut_file_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)).save(file, "PNG")
    with pytest.raises(InvalidData, match="no image"):
        digest("dct", [file.getvalue()[:900]])


def test_a_file_of_more_than_8_bits_a_channel_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 20), 4000, np.uint16)).save(file, "PNG")
    with pytest.raises(InvalidData, match="image 0 has pixels of mode I;16, expected 8 bits a channel"):
        digest("dct", [file.getvalue()])


@every_kind
@given(image=levels)
def test_no_image_has_a_digest_of_zero(name: str, image: NDArray[np.uint8]) -> None:
    assert digest(name, image).any()


@pytest.mark.parametrize("value", [0.1, 0.3, 1.0])
def test_a_flat_image_says_nothing_but_that_it_is_not_black(value: float) -> None:
    flat = np.full((1, 20, 30), value)
    assert digest("dct", flat)[0].tobytes() == b"\x80" + bytes(31)
    for name in ("difference", "wavelet"):
        assert digest(name, flat)[0].tobytes() == bytes(31) + b"\x01"


def test_bits_stand_row_by_row_most_significant_first() -> None:
    step = np.zeros((1, 16, 17))
    step[0, 0, 1:] = 1.0  # brighter from the first column to the second of the first row
    step[0, 15, 16] = 1.0
    assert int.from_bytes(digest("difference", step)[0].tobytes(), "big") == (1 << 255) + 1

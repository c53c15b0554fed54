"""Reader of a trainer's folders of images."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from market.protocol.errors import InvalidData
from trainer_client.dataset import DataKind, Dataset, InputShape, SampleForm

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_MODES = {1: "L", 3: "RGB"}
_DEEP_MODES = ("I", "F")


def read_image_folder(path: Path, form: SampleForm) -> Dataset:
    """Read a folder of images; pixels become values in [0, 1], channels first.

    Where the model asks for labels there is one subfolder a class. Subfolders named by integers are those labels.
    Other names are numbered in sorted order, and then there has to be one, if empty, for every class: trainers who
    lack different classes would else number them differently. Where it takes inputs alone, the images of the folder
    and of all below it are taken. Files that are no images, or damaged, are skipped and listed.

    Raises:
        InvalidData: the model takes no images, no image can be read, the subfolders are wrong, or an image is of
            another size or depth.
    """
    if form.shape is None or form.kind not in (DataKind.LABELS, DataKind.UNLABELLED):
        raise InvalidData(f"{path} is a folder, but the job's model does not take images: expected a file")
    if form.shape.channels not in _MODES:
        raise InvalidData(f"{path}: images have 1 or 3 channels, the model expects {form.shape.channels}")
    labelled = form.kind is DataKind.LABELS
    files, skipped = _list_labelled(path, _label_folders(path, form.classes)) if labelled else _list_all(path)
    inputs, kept = _read_images(path, files, form.shape, skipped)
    labels = np.array([label for _, label in files], dtype=np.int64)
    return Dataset(inputs, labels[kept] if labelled else None, tuple(skipped))


def _read_images(
    path: Path, files: list[tuple[Path, int]], shape: InputShape, skipped: list[str]
) -> tuple[NDArray[np.float32], list[int]]:
    """Return the images that can be read, float32 (n, features), and which they are; the others are listed."""
    inputs = np.empty((len(files), shape.features), dtype=np.float32)
    kept: list[int] = []
    for index, (file, _) in enumerate(files):
        try:
            inputs[len(kept)] = _read_image(file, shape)
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError) as error:
            skipped.append(f"{file.relative_to(path)}: cannot be read as an image ({error})")
            continue
        kept.append(index)
    if not kept:
        raise InvalidData(f"{path} has no image that can be read, expected {', '.join(IMAGE_SUFFIXES)}")
    return inputs[: len(kept)], kept


def _label_folders(path: Path, classes: int) -> dict[Path, int]:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise InvalidData(f"{path} has no subfolders, expected one of images for each of the {classes} classes")
    if not all(folder.name.isascii() and folder.name.isdecimal() for folder in folders):
        if len(folders) != classes:
            raise InvalidData(
                f"{path} has {len(folders)} class folders, expected {classes} (or folders named by their labels)"
            )
        return {folder: label for label, folder in enumerate(folders)}
    for folder in folders:
        if int(folder.name) >= classes:
            raise InvalidData(f"{folder}: the label is {folder.name}, expected 0..{classes - 1}")
    return {folder: int(folder.name) for folder in folders}


def _list_labelled(path: Path, labels: dict[Path, int]) -> tuple[list[tuple[Path, int]], list[str]]:
    skipped = [f"{entry.name}: not in a class folder" for entry in sorted(path.iterdir()) if entry.is_file()]
    images: list[tuple[Path, int]] = []
    for folder, label in labels.items():
        for entry in sorted(folder.iterdir()):
            if _is_image(entry):
                images.append((entry, label))
            else:
                skipped.append(f"{entry.relative_to(path)}: not an image file")
    return images, skipped


def _list_all(path: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    entries = sorted(entry for entry in path.rglob("*") if entry.is_file())
    skipped = [f"{entry.relative_to(path)}: not an image file" for entry in entries if not _is_image(entry)]
    return [(entry, 0) for entry in entries if _is_image(entry)], skipped


def _is_image(entry: Path) -> bool:
    return entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES


def _read_image(path: Path, shape: InputShape) -> NDArray[np.float32]:
    with Image.open(path) as image:
        # The header tells the size: a wrong one is refused before the pixels are decoded.
        if image.size != (shape.width, shape.height):
            raise InvalidData(
                f"{path} is {image.width}x{image.height} pixels, expected {shape.width}x{shape.height} (width x height)"
            )
        if image.mode.startswith(_DEEP_MODES):
            raise InvalidData(f"{path} has pixels of mode {image.mode}, expected 8 bits a channel")
        pixels = np.asarray(image.convert(_MODES[shape.channels]), dtype=np.float32)
    # Height, width, channels in the file; channels first in the model.
    return np.moveaxis(pixels.reshape(shape.height, shape.width, shape.channels), 2, 0).reshape(-1) / np.float32(255)

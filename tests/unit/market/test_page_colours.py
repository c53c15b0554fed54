"""Text can be read in both themes: contrast of at least 4.5 (WCAG 2.2, 1.4.3), worked out from the style sheet."""

from __future__ import annotations

import re

import pytest

from market.web.rendering import STATIC_FOLDER

CSS = (STATIC_FOLDER / "market.css").read_text(encoding="utf-8")
LEAST_OF_TEXT = 4.5
LEAST_OF_SHAPES = 3.0

TEXT = (
    *((ink, ground) for ink in ("ink", "quiet", "accent", "alert") for ground in ("paper", "sheet")),
    *(("ink", f"shade-{shade}") for shade in range(1, 6)),
    *((ink, "live-ground") for ink in ("ink", "quiet", "accent", "live", "good", "alert")),
    ("on-accent", "accent"),
    ("alert", "alert-ground"),
    ("alert", "rejected-ground"),
    ("still", "still-ground"),
    ("ink", "still-ground"),
    ("good", "paper"),
    *((line, "paper") for line in ("line-a", "line-b", "line-c")),
)
SHAPES = (
    *((edge, "paper") for edge in ("rule-strong", "focus", "paid", "p3", "n3")),
    ("refunded-line", "refunded"),
    ("burned-line", "burned"),
    ("hatch", "n1"),
    ("focus", "sheet"),
)


def themes() -> dict[str, dict[str, str]]:
    light, dark_by_system, dark = (
        dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block))
        for block in re.findall(r":root[^{]*\{([^}]*--paper[^}]*)\}", CSS)
    )
    assert dark_by_system == dark, "the dark theme is written twice: once for the system's wish, once for the button's"
    assert set(light) == set(dark)
    return {"light": light, "dark": dark}


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out(theme: str) -> None:
    colours = themes()[theme]
    weak = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in TEXT}
    assert not {pair: value for pair, value in weak.items() if value < LEAST_OF_TEXT}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shapes_that_tell_something_stand_out(theme: str) -> None:
    colours = themes()[theme]
    weak = {pair: round(contrast(*(colours[name] for name in pair)), 2) for pair in SHAPES}
    assert not {pair: value for pair, value in weak.items() if value < LEAST_OF_SHAPES}


def test_no_colour_is_written_outside_the_themes() -> None:
    rules = re.sub(r":root[^{]*\{[^}]*--paper[^}]*\}", "", CSS)
    assert not re.findall(
        r"#[0-9a-fA-F]{3,8}\b(?!\")|rgba?\(|hsla?\(", rules.replace("#hatch", "").replace("#cross", "")
    )


def test_nothing_moves_unasked() -> None:
    rules = CSS.replace("@keyframes breathe", "")
    moving = rules.index("animation:")
    assert rules.rindex("@media", 0, moving) == rules.index("@media (prefers-reduced-motion: no-preference)")

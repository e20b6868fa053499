"""A drawn slide under a camera that can be anywhere on it: one channel, cheap, and exact to a fraction of a pixel."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

WIDTH, HEIGHT = 320, 240  # reduced by 4


@lru_cache(maxsize=4)
def smear(seed: int) -> np.ndarray:
    """A slide of dark discs, some thousand by some thousand pixels: one channel of it."""
    rng = np.random.default_rng(seed)
    slide = np.full((1000, 1200), 220, np.uint8)
    for x, y, radius, shade in rng.uniform((0, 0, 9, 120), (1200, 1000, 13, 170), (2200, 4)):
        cv2.circle(slide, (int(x), int(y)), int(radius), int(shade), cv2.FILLED, cv2.LINE_AA)
    return slide


def view(
    seed: int,
    x: float,
    y: float,
    *,
    gain: float = 1.0,
    blur: float = 0.0,
    noise: float = 0.0,
    shade: float = 0.0,
) -> np.ndarray:
    """What a camera sees with its corner at a place of the slide."""
    picture = cv2.getRectSubPix(smear(seed), (WIDTH, HEIGHT), (x + (WIDTH - 1) / 2, y + (HEIGHT - 1) / 2))
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    light = gain * (1 - shade * np.linspace(0, 1, WIDTH)[None])
    grain = np.random.default_rng(int(1000 * x + y)).normal(0, noise, picture.shape) if noise else 0
    return np.clip(picture * light + grain, 0, 255).astype(np.uint8)

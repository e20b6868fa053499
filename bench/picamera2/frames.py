"""Write the pictures that libcamera's virtual camera shows: a stage that moves over the virtual slide."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from edge.sources.slide_scan import SlideSettings
from edge.sources.virtual_slide import VirtualSlide

SLIDE = SlideSettings(
    seed=4, cells=20, white_per_mm2=300, interval_s=0, stall_share=0, scan="meander", overlap=0.35,
    dwell_frames=6, move_frames=6,
)  # fmt: skip
COUNT = 60  # libcamera keeps them all in memory

if __name__ == "__main__":
    slide = VirtualSlide(SLIDE)
    slide.open()
    for number in range(COUNT):
        frame = slide.read(0)
        assert frame is not None
        path = Path(sys.argv[1]) / f"{number:04d}.jpg"
        cv2.imwrite(str(path), frame.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])

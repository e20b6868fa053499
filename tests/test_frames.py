"""Which frames are read: by limits, and by what the sample itself has shown to be possible."""

from __future__ import annotations

import math

import pytest

from edge.config import Frames
from edge.counting.frames import FrameJudge
from edge.records import SkipReason
from edge.vision.framequality import FrameQuality

GOOD = FrameQuality(
    softness=0.5,
    brightness=220,
    burnt=0.0,
    evenness=0.9,
    stained=0.4,
    white=(0.1, -0.1),
    stain=(0.2, 0.35, 0.2),
)


def judge(*seen: FrameQuality) -> FrameJudge:
    made = FrameJudge(Frames().limits)
    for quality in seen:
        made.judge(quality, moving=False)
    return made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"stained": 0.001}, SkipReason.EMPTY),
        ({"brightness": 20}, SkipReason.TOO_DARK),
        ({"burnt": 0.9}, SkipReason.TOO_BRIGHT),
        ({"evenness": 0.2}, SkipReason.UNEVEN_LIGHT),
        ({"softness": 0.7}, SkipReason.OUT_OF_FOCUS),
        ({"softness": math.inf}, SkipReason.OUT_OF_FOCUS),
        ({"white": (0.5, -0.1)}, SkipReason.WHITE_BALANCE),
        ({"white": (0.1, -0.5)}, SkipReason.WHITE_BALANCE),
        ({"stain": (0.4, 0.7, 0.4)}, SkipReason.STAIN),
        ({"stain": (0.1, 0.15, 0.1)}, SkipReason.STAIN),
        ({"stain": (0.22, 0.4, 0.22), "white": (0.2, -0.15), "softness": 0.55}, None),
    ],
)
def test_a_frame_is_skipped_for_its_worst_fault(change: dict[str, object], reason: SkipReason | None) -> None:
    assert judge(*[GOOD] * 20).judge(GOOD._replace(**change), moving=False) is reason


def test_blur_is_the_stages_while_it_moves() -> None:
    soft = GOOD._replace(softness=0.9)
    assert judge(*[GOOD] * 20).judge(soft, moving=True) is SkipReason.MOVING
    assert judge(*[GOOD] * 20).judge(GOOD, moving=True) is None, "a slow stage blurs nothing"


def test_what_is_sharp_the_sample_tells() -> None:
    softer = GOOD._replace(softness=0.9)
    assert judge(*[GOOD] * 20).judge(softer, moving=False) is SkipReason.OUT_OF_FOCUS
    assert judge(*[softer] * 20).judge(softer, moving=False) is None, "these optics give no more"
    hopeless = GOOD._replace(softness=Frames().softest_um + 0.1)
    assert judge(*[hopeless] * 20).judge(hopeless, moving=False) is SkipReason.OUT_OF_FOCUS


def test_a_few_sharp_frames_among_many_blurred_ones_tell_what_sharp_is() -> None:
    way = [GOOD._replace(softness=0.5 if i % 5 == 0 else 1.2) for i in range(100)]
    assert judge(*way).softest_um == pytest.approx(math.hypot(0.5, Frames().lost_focus_um))


def test_faulty_frames_do_not_become_the_reference() -> None:
    yellow = GOOD._replace(white=(0.8, -0.8), softness=1.4)
    made = judge(*[GOOD, yellow, yellow, yellow] * 10)
    assert made.judge(GOOD, moving=False) is None
    assert made.judge(GOOD._replace(white=(0.8, -0.8)), moving=False) is SkipReason.WHITE_BALANCE


def test_another_sample_is_judged_anew() -> None:
    made = judge(*[GOOD] * 20)
    made.begin()
    assert made.judge(GOOD._replace(white=(0.8, -0.8), softness=0.9), moving=False) is None

"""The map of a slide: places that agree with the truth, over turns, jumps and restarts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from moving import HEIGHT, WIDTH, view

from edge.counting import slide as module
from edge.counting.slide import Fix, Link, SlideMap
from edge.records import Keyframe, Place
from edge.vision.register import Print

Corner = tuple[float, float]


def go(slide: SlideMap, way: Iterable[Corner], seed: int = 1) -> list[Fix]:
    """Move the camera; every frame is a good one."""
    fixes = []
    for x, y in way:
        picture = Print.of(view(seed, x, y, noise=1.5))
        slide.follow(picture)
        fixes.append(slide.fix(picture))
    return fixes


def line(start: Corner, end: Corner, steps: int) -> list[Corner]:
    return [tuple(corner) for corner in np.linspace(start, end, steps)]


def kept(fixes: Iterable[Fix]) -> list[Keyframe]:
    return [keyframe for fix in fixes for keyframe in fix.keyframes]


def test_places_do_not_drift_over_a_meander() -> None:
    way = []
    for row in range(4):
        ends = ((20.0, 20 + 160.0 * row), (820.0, 20 + 160.0 * row))
        way += line(*(ends if row % 2 == 0 else ends[::-1]), 15)
    fixes = go(SlideMap(), way)
    assert {fix.place.region for fix in fixes} == {0}
    errors = [(f.place.x - x + 20, f.place.y - y + 20) for f, (x, y) in zip(fixes, way, strict=True)]
    assert np.abs(errors).max() < 5  # of a frame 320 wide, with pixels reduced by 4
    assert len(kept(fixes)) <= len(way) / 2
    assert all(max(keyframe.image.shape) <= 160 for keyframe in kept(fixes))


def test_a_jump_to_the_unknown_opens_a_region_and_coming_back_is_recognised() -> None:
    slide = SlideMap()
    before = go(slide, line((20, 20), (200, 20), 6))
    away = go(slide, line((800, 700), (850, 700), 3))
    back = go(slide, [(150, 30)])
    assert {fix.place.region for fix in before} == {0}
    assert {fix.place.region for fix in away} == {1}
    assert away[-1].place[1:] == pytest.approx((50, 0), abs=2)
    assert back[0].place.region == 0
    assert back[0].place[1:] == pytest.approx((130, 10), abs=2)


def test_two_regions_that_meet_become_one() -> None:
    slide = SlideMap()
    go(slide, line((20, 20), (200, 20), 6))
    fixes = go(slide, [*line((800, 20), (420, 20), 8), (330, 20), (250, 20)])
    links = [fix.link for fix in fixes if fix.link]
    assert len(links) == 1
    assert links[0].region == 1
    assert links[0].into == 0
    assert (links[0].x, links[0].y) == pytest.approx((780, 0), abs=4)
    assert fixes[-1].place.region == 0
    assert fixes[-1].place.x == pytest.approx(230, abs=4)
    assert go(slide, [(790, 25)])[0].place == pytest.approx((0, 770, 5), abs=4)


def test_after_a_restart_the_slide_is_known_and_its_regions_are_one() -> None:
    first = SlideMap()
    fixes = go(first, line((20, 20), (200, 20), 6)) + go(
        first, [*line((800, 20), (420, 20), 8), (330, 20), (250, 20)]
    )
    again = SlideMap()
    links = again.begin(kept(fixes), ())
    assert len(links) == 1
    assert links[0](Place(1, 0, 0)) == pytest.approx((0, 780, 0), abs=4)
    assert go(again, [(700, 30)])[0].place == pytest.approx((0, 680, 10), abs=4)
    assert go(again, [(60, 700)])[0].place == (2, 0, 0)


def test_a_region_whose_pictures_were_given_up_keeps_its_number() -> None:
    slide = SlideMap()
    slide.begin((), [0, 4])
    assert go(slide, [(20, 20)])[0].place == (5, 0, 0)


def test_a_blurred_frame_is_followed_over_but_leaves_no_keyframe() -> None:
    slide = SlideMap()
    go(slide, [(20, 20)])
    for x in (60, 100, 140):
        step = slide.follow(Print.of(view(1, x, 20, blur=4)))
        assert step is not None
        assert step.x == pytest.approx(40, abs=3)
    assert go(slide, [(180, 20)])[0].place == pytest.approx((0, 160, 0), abs=2)


def test_another_slide_is_another_region() -> None:
    slide = SlideMap()
    go(slide, [(20, 20)], seed=1)
    assert go(slide, [(20, 20)], seed=2)[0].place == (1, 0, 0)


def test_a_camera_set_to_another_size_starts_anew() -> None:
    slide = SlideMap()
    go(slide, [(20, 20)])
    other = Print.of(view(1, 20, 20)[: HEIGHT - 80, : WIDTH - 80])
    assert slide.follow(other) is None
    assert slide.fix(other).place == (1, 0, 0)


def test_a_link_moves_only_its_own_region() -> None:
    link = Link(2, 0, 10, -5)
    assert link(Place(2, 1, 1)) == (0, 11, -4)
    assert link(Place(1, 1, 1)) == (1, 1, 1)


def test_a_day_of_many_slides_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that follows from nothing is compared with every keyframe: with ten thousand that takes half a minute."""
    monkeypatch.setattr(module, "KEYFRAMES_KEPT", 12)
    slide = SlideMap()
    for seed in range(1, 5):
        go(slide, line((0, 100), (840, 100), 8), seed)
        assert len(slide._keyframes) <= 12
    go(slide, [(0, 0)], seed=9)
    assert go(slide, [(840, 100)], seed=4)[0].keyframes == (), "the newest are known"
    assert go(slide, [(0, 100)], seed=1)[0].keyframes, "the oldest are not"

"""The virtual slide: what it shows is real enough to be read, and it knows what it shows."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from edge.errors import SourceError
from edge.records import Box, Frame, Image
from edge.sources.base import SourceEnded
from edge.sources.slide_layout import TILE, Layout, stock
from edge.sources.slide_scan import SAMPLE_UM_PER_PIXEL, Scan, SlideSettings
from edge.sources.sprites import NEUTRAL, background, cut, nuclear
from edge.sources.virtual_slide import VirtualSlide

QUICK = SlideSettings(cells=12, width=640, height=480, white_per_mm2=400, interval_s=0, stall_share=0)
STILL = replace(QUICK, blur=0, exposure_drift=0, stain_drift=0, noise=0)


@contextmanager
def opened(settings: SlideSettings) -> Iterator[VirtualSlide]:
    slide = VirtualSlide(settings)
    slide.open()
    yield slide
    slide.close()


def frames(slide: VirtualSlide, most: int = 1000) -> Iterator[Frame]:
    try:
        for _ in range(most):
            frame = slide.read(0)
            assert frame is not None
            yield frame
    except SourceEnded:
        pass


def nuclei(image: Image) -> np.ndarray:
    return nuclear(image / background(image))


def part(array: np.ndarray, box: Box) -> np.ndarray:
    return array[box.top : box.top + box.height, box.left : box.left + box.width]


def red_width(image: Image) -> float:
    """The median width of the red cells that touch nothing, in pixels."""
    stained = (image[..., 1] < 0.88 * background(image)[1]).astype(np.uint8)
    dark, widths = nuclei(image), []
    for outline in cv2.findContours(stained, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
        left, top, width, height = cv2.boundingRect(outline)
        free = left > 0 and top > 0 and left + width < image.shape[1] and top + height < image.shape[0]
        area = cv2.contourArea(outline)
        round_ = area > 100 and area / cv2.contourArea(cv2.convexHull(outline)) > 0.95
        if free and round_ and not dark[top : top + height, left : left + width].any():
            widths.append(np.sqrt(area * 4 / np.pi))
    assert len(widths) > 5
    return float(np.median(widths))


@pytest.mark.parametrize("scan", ["step", "meander"])
def test_equal_settings_show_equal_frames(scan: str) -> None:
    settings = replace(QUICK, scan=scan)
    with opened(settings) as one, opened(settings) as other, opened(replace(settings, seed=2)) as third:
        assert one.truth() == other.truth()
        assert one.truth() != third.truth()
        for a, b, c in zip(frames(one, 12), frames(other, 12), frames(third, 12), strict=True):
            assert (a.image == b.image).all()
            assert (a.image != c.image).mean() > 0.5
            assert one.visible(a.number) == other.visible(b.number)


def test_the_truth_lies_where_it_says() -> None:
    with opened(replace(QUICK, cells=40)) as slide:
        seen = 0
        for frame in frames(slide):
            dark = nuclei(frame.image)
            for visible in slide.visible(frame.number):
                assert part(frame.image, visible.box).size
                if visible.whole:
                    seen += 1
                    assert part(dark, visible.box).sum() > 800, visible
                    # The box is the cell's, not its surroundings': stain reaches each of its sides.
                    shade = part(frame.image[..., 1], visible.box) < 0.9 * background(frame.image)[1]
                    for side in (shade[:4], shade[-4:], shade[:, :4], shade[:, -4:]):
                        assert side.any(), visible
                dark[
                    visible.box.top : visible.box.top + visible.box.height,
                    visible.box.left : visible.box.left + visible.box.width,
                ] = False
            rest = cv2.connectedComponentsWithStats(dark.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
            assert max(rest, default=0) < 1500, "a nucleus that the truth does not know"
    assert seen > 20


def test_in_steps_each_cell_is_seen_once() -> None:
    settings = replace(QUICK, cells=60)
    with opened(settings) as slide:
        shown = Counter(
            visible.cell.number for frame in frames(slide) for visible in slide.visible(frame.number)
        )
        assert len(slide.truth()) == 60
        assert [cell.number for cell in slide.truth()] == list(range(60))
        assert shown == Counter(range(60))


def test_in_a_pan_a_cell_moves_with_the_picture() -> None:
    with opened(replace(STILL, scan="meander", cells=30)) as slide:
        compared = 0
        for before, after in pairwise(frames(slide, 60)):
            boxes = {v.cell.number: v.box for v in slide.visible(before.number) if v.whole}
            for visible in slide.visible(after.number):
                if visible.whole and visible.cell.number in boxes:
                    here = boxes[visible.cell.number]
                    moved = visible.box.left - here.left, visible.box.top - here.top
                    compared += any(moved)
                    patch = part(before.image, here).astype(int)
                    there = part(after.image, visible.box).astype(int)
                    assert patch.shape == there.shape
                    # Smeared by the movement and lit from elsewhere, yet the same cell.
                    assert np.corrcoef(patch.ravel(), there.ravel())[0, 1] > 0.8
        assert compared > 10


def test_fields_of_a_pan_overlap_and_cover_the_slide() -> None:
    scan = Scan(replace(QUICK, scan="meander", cells=30))
    places = [scan.at(number) for number in range(scan.frames)]
    covered = np.zeros((scan.height, scan.width), bool)
    for place in places:
        covered[place.top : place.top + 480, place.left : place.left + 640] = True
    assert covered.all()
    for before, after in pairwise(places):
        assert abs(after.left - before.left) < 640 * 0.2
        assert abs(after.top - before.top) < 480 * 0.2
    assert any(place.smear_x for place in places)
    assert any(place.smear_y for place in places)


@pytest.mark.parametrize("um_per_pixel", [0.07, SAMPLE_UM_PER_PIXEL, 0.2])
def test_the_red_cells_are_a_ruler(um_per_pixel: float) -> None:
    settings = replace(STILL, um_per_pixel=um_per_pixel, width=1000, height=800)
    with opened(settings) as slide:
        image = next(frames(slide)).image
    assert red_width(image) * um_per_pixel == pytest.approx(7.2, rel=0.07)


def test_no_seams_between_tiles() -> None:
    layout = Layout(STILL, Scan(STILL), stock(STILL.um_per_pixel))
    tiles = np.hstack([layout.tile(column, 0) for column in range(3)]).astype(int)
    steps = np.abs(np.diff(tiles, axis=1)).mean(axis=(0, 2))
    assert tiles.shape == (TILE, 3 * TILE, 3)
    for seam in (TILE - 1, 2 * TILE - 1):
        assert steps[seam] < 1.5 * np.median(steps)


def test_memory_does_not_grow_with_the_way() -> None:
    with opened(replace(QUICK, cells=600, white_per_mm2=200)) as slide:
        assert slide.read(0) is not None
        tracemalloc.start()
        for _ in frames(slide, 20):
            pass
        tracemalloc.reset_peak()
        early = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in frames(slide, 80)) == 80
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    tile = TILE * TILE * 3
    assert early > 6 * tile, "the tiles are not traced"
    assert peak - early < 8 * tile  # 80 fields cross hundreds of tiles


def test_the_mix_is_kept() -> None:
    with opened(replace(QUICK, cells=9, mix=(("basophil", 2.0), ("ig", 0.0)))) as slide:
        assert {cell.kind for cell in slide.truth()} == {"basophil"}
    with opened(replace(QUICK, cells=1000)) as slide:
        shares = {kind: count / 1000 for kind, count in Counter(c.kind for c in slide.truth()).items()}
        assert shares == pytest.approx(dict(QUICK.mix), abs=0.05)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (641, 479), (33, 2000)])
def test_any_frame_size(width: int, height: int) -> None:
    with opened(replace(QUICK, width=width, height=height)) as slide:
        assert next(frames(slide)).image.shape == (height, width, 3)


def test_a_camera_of_twelve_megapixels() -> None:
    with opened(replace(QUICK, width=4056, height=3040, um_per_pixel=0.15)) as slide:
        frame = next(frames(slide))
        assert frame.image.shape == (3040, 4056, 3)
        assert len(slide.visible(0)) == 12


def test_the_camera_drifts_and_does_not_without() -> None:
    with opened(replace(STILL, scan="meander")) as slide:
        still = [frame.image for frame in frames(slide, 8)]
    assert all((image == still[0]).all() for image in still)
    drifts = {
        "blur": lambda image: cv2.Laplacian(image, cv2.CV_32F).std(),
        "exposure_drift": lambda image: image.mean(),
        "stain_drift": lambda image: background(image).mean() - image.mean(),
        "noise": lambda image: image.astype(float)[0, 0, 0],
    }
    for drift, measure in drifts.items():
        with opened(replace(STILL, scan="meander", **{drift: getattr(SlideSettings(), drift)})) as slide:
            values = [measure(frame.image) for frame in frames(slide, 8)]
        assert np.ptp(values) > 0, drift


def test_a_stalled_camera_gives_nothing() -> None:
    with opened(replace(QUICK, stall_share=1, stall_s=3600)) as slide:
        assert slide.read(0) is not None
        assert slide.read(0.05) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cells": 0}, "cells is 0 and must lie between 1 and"),
        ({"um_per_pixel": 4.0}, "um_per_pixel is 4.0 and must lie between 0.03 and 0.4"),
        ({"um_per_pixel": float("nan")}, "um_per_pixel"),
        ({"width": 100_000}, "width"),
        ({"scan": "jump"}, "one of step, meander"),
        ({"overlap": 0.9}, "overlap is 0.9"),
        ({"mix": (("yeast", 1.0),)}, "no 'yeast'"),
        ({"mix": (("monocyte", 0.0),)}, "above 0"),
        ({"mix": ()}, "above 0"),
    ],
)
def test_settings_that_make_no_slide_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        VirtualSlide(replace(QUICK, **wrong)).open()


def test_a_cut_out_cell_leaves_its_surroundings_behind() -> None:
    """Cells of a frame can be cut out of it again, and their margin is clear."""
    with opened(replace(STILL, um_per_pixel=SAMPLE_UM_PER_PIXEL)) as slide:
        cuttings = cut(next(frames(slide)).image)
    assert len(cuttings.red) > 2
    for sprite in cuttings.red:
        rim = np.concatenate([sprite.light[0], sprite.light[-1], sprite.light[:, 0], sprite.light[:, -1]])
        assert np.abs(rim.astype(int) - NEUTRAL).max() <= 3


MOVING = replace(QUICK, scan="meander", cells=30, dwell_frames=3, move_frames=4)


def fields_visited(scan: Scan) -> list[tuple[int, int]]:
    """The corners at which the stage rests, in order."""
    places = [(at.left, at.top) for at in map(scan.at, range(scan.frames))]
    return [place for place, after in pairwise(places) if place == after]


@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_neighbouring_fields_overlap_as_told(overlap: float) -> None:
    scan = Scan(replace(MOVING, overlap=overlap))
    columns = sorted({left for left, _ in fields_visited(scan)})
    rows = sorted({top for _, top in fields_visited(scan)})
    assert {after - before for before, after in pairwise(columns)} == {round(640 * (1 - overlap))}
    assert {after - before for before, after in pairwise(rows)} == {round(480 * (1 - overlap))}


def test_back_and_forth_comes_by_each_field_twice_but_at_the_turn() -> None:
    once = set(fields_visited(Scan(MOVING)))
    visits = Counter(fields_visited(Scan(replace(MOVING, scan="back_and_forth"))))
    assert set(visits) == once
    resting = MOVING.dwell_frames - 1
    assert set(visits.values()) == {resting, 2 * resting}


def test_a_random_walk_goes_from_field_to_neighbour() -> None:
    scan = Scan(replace(MOVING, scan="random_walk"))
    for before, after in pairwise(fields_visited(scan)):
        assert abs(after[0] - before[0]) <= 480
        assert abs(after[1] - before[1]) <= 360
        assert after[0] == before[0] or after[1] == before[1]
    assert len(set(fields_visited(scan))) > 3
    assert scan.frames == Scan(replace(MOVING, scan="random_walk")).frames


def test_jumps_go_over_the_same_fields_in_another_order() -> None:
    straight, jumping = Scan(MOVING), Scan(replace(MOVING, jumps=3))
    assert set(fields_visited(jumping)) == set(fields_visited(straight))
    assert fields_visited(jumping) != fields_visited(straight)
    far = [
        (before, after)
        for before, after in pairwise(map(jumping.at, range(jumping.frames)))
        if abs(after.left - before.left) > 320 or abs(after.top - before.top) > 240
    ]
    assert 1 <= len(far) <= 3
    for _, after in far:
        assert (after.smear_x, after.smear_y) == (0, 0), "nothing is exposed while it jumps"


def test_vibration_shakes_the_view_and_smears_it() -> None:
    still = Scan(replace(MOVING, dwell_frames=50))
    shaken = Scan(replace(MOVING, dwell_frames=50, vibration=4.0))
    corners = np.array([[shaken.at(n).left, shaken.at(n).top] for n in range(50)])
    assert np.ptp([still.at(n).left for n in range(50)]) == 0
    assert corners.std(axis=0) == pytest.approx([4, 4], rel=0.4)
    assert any(shaken.at(n).smear_x for n in range(50))


def test_lost_and_repeated_frames() -> None:
    scan = Scan(replace(MOVING, dwell_frames=20, drop_share=0.2, repeat_share=0.3))
    moments = [scan.at(n).moment for n in range(scan.frames)]
    assert moments == sorted(moments)
    steps = Counter(after - before for before, after in pairwise(moments))
    whole = Scan(replace(MOVING, dwell_frames=20)).frames
    assert scan.frames == pytest.approx(0.8 * whole, rel=0.1)
    assert steps[0] == pytest.approx(0.3 * scan.frames, rel=0.25)
    with opened(replace(MOVING, repeat_share=0.5)) as slide:
        shown = list(frames(slide, 12))
        same = [
            slide.conditions(a.number).moment == slide.conditions(b.number).moment for a, b in pairwise(shown)
        ]
        assert any(same)
        assert [bool((a.image == b.image).all()) for a, b in pairwise(shown)] == same


def test_vignetting_darkens_the_corners() -> None:
    with opened(replace(STILL, scan="meander", vignetting=0.0)) as slide:
        even = next(frames(slide)).image[:8, :8].mean()
    with opened(replace(STILL, scan="meander", vignetting=0.4)) as slide:
        assert next(frames(slide)).image[:8, :8].mean() == pytest.approx(0.6 * even, rel=0.03)

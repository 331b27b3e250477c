"""What is changed at random: geometry, colours, blur, noise, and what a cfg says of them."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from darkconv.augmentation.augment import GREY, Augmentation
from darkconv.augmentation.box_rows import SMALLEST, VISIBLE, Rect, clipped, is_visible
from darkconv.augmentation.colour import ColourChange, ColourRange, distort, draw_scale
from darkconv.augmentation.crop import CropRange
from darkconv.augmentation.effects import add_blur, add_noise, draw_blur
from darkconv.augmentation.mosaic import EDGE, draw_tiles
from darkconv.augmentation.placement import NARROWEST, CanvasView, CropWindow, Patch
from darkconv.core.dialect import DIALECTS
from darkconv.core.network import build_network
from darkconv.darknet.cfg import parse_cfg
from networks import cfg_text

CONV = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = CONV.format(n=14) + "[yolo]\nclasses=2\nnum=2\nanchors=4,6,8,3\n"
NO_ROWS = np.empty((0, 5))


def random(seed=0):
    return np.random.default_rng(seed)


def levels(*shape):
    return random().integers(0, 256, shape, np.uint8)


# --- Colours


@given(
    turn=st.floats(-1.5, 1.5),
    saturation=st.floats(0.2, 5),
    exposure=st.floats(0.2, 5),
    seed=st.integers(0, 1000),
)
def test_colours_change_in_hsv(turn, saturation, exposure, seed):
    picture = random(seed).integers(0, 256, (3, 2, 5), np.uint8)
    picture[:, 0] //= 64  # few levels: greys, and channels that are equal
    change = ColourChange(turn=turn, saturation=saturation, exposure=exposure)
    found = distort(picture, change)
    for place in np.ndindex(2, 5):
        hue, strength, value = colorsys.rgb_to_hsv(*(picture[:, *place] / 255))
        value *= exposure
        sectors = [((hue + turn) * 6 + n) % 6 for n in (5, 3, 1)]
        parts = [min(max(min(k, 4 - k), 0), 1) for k in sectors]
        expected = [value - value * strength * saturation * part for part in parts]
        tolerance = 0.6 / 255 * saturation * exposure  # chroma times the turn is rounded
        np.testing.assert_allclose(found[:, *place], np.clip(expected, 0, 1), atol=tolerance + 1e-5)


def test_no_change_keeps_colours():
    picture = levels(3, 130, 7)
    expected = (picture / np.float32(255)).astype(np.float32)
    np.testing.assert_allclose(distort(picture, ColourChange()), expected, rtol=1e-6)
    np.testing.assert_allclose(distort(picture, ColourChange(turn=1.0)), expected, atol=1e-6)


def test_a_third_of_a_turn_exchanges_channels():
    picture = levels(3, 9, 9)
    found = distort(picture, ColourChange(turn=1 / 3))
    np.testing.assert_allclose(found, picture[[2, 0, 1]] / 255, atol=0.6 / 255)


def test_without_saturation_all_channels_are_the_largest():
    picture = levels(3, 9, 9)
    for turn in (0.0, 0.2):
        found = distort(picture, ColourChange(turn=turn, saturation=0.0))
        np.testing.assert_allclose(found, [picture.max(axis=0) / 255] * 3, atol=1e-6)


def test_grey_takes_the_exposure_alone():
    picture = levels(1, 9, 9)
    found = distort(picture, ColourChange(turn=0.3, saturation=2.0, exposure=1.5))
    np.testing.assert_allclose(found, (picture / 255 * 1.5).clip(0, 1), atol=1e-6)


@pytest.mark.parametrize("limit", [1.5, 0.75, 1.0, 3.0])
def test_scales_lie_between_a_limit_and_its_inverse(limit):
    rng = random()
    scales = np.array([draw_scale(rng, limit) for _ in range(400)])
    low, high = sorted((limit, 1 / limit))
    assert low <= scales.min() <= low + 0.02
    assert high - 0.05 <= scales.max() <= high
    assert limit == 1 or 0.4 < (scales > 1).mean() < 0.6


def test_a_limit_that_is_not_positive_changes_nothing():
    assert draw_scale(random(), 0.0) == draw_scale(random(), -2.0) == 1.0


def test_changes_stay_in_their_range():
    bounds = ColourRange(hue=0.1, saturation=1.5, exposure=0.5)
    rng = random()
    changes = [bounds.draw(rng) for _ in range(300)]
    turns = np.array([change.turn for change in changes])
    assert -0.1 <= turns.min() < -0.09
    assert 0.09 < turns.max() <= 0.1
    assert all(1 / 1.5 <= change.saturation <= 1.5 for change in changes)
    assert all(0.5 <= change.exposure <= 2 for change in changes)


# --- Geometry


@pytest.mark.parametrize("flip", [False, True])
def test_parts_of_a_view_are_what_the_view_shows_there(flip):
    picture = levels(60, 80, 3)
    view = CanvasView(CropWindow(-0.25, 0.25, 1.25, 1.0), flip)
    whole = np.zeros((3, 45, 120), np.uint8)
    Patch.of(view, (80, 60), (120, 45)).paint(picture, whole)
    part = np.zeros((3, 30, 60), np.uint8)
    Patch.of(view.part(0.25, 1 / 3, 0.75, 1), (80, 60), (60, 30)).paint(picture, part)
    np.testing.assert_array_equal(part, whole[:, 15:, 30:90])


def test_borders_are_what_lies_beside_the_picture():
    window = CropWindow(-0.5, 0.1, 1.5, 1.1)
    np.testing.assert_allclose(CanvasView(window).borders(), (0.25, 0, 0.25, 0.1))
    lopsided = CropWindow(-1, 0, 1, 1)
    assert CanvasView(lopsided).borders() == (0.5, 0, 0, 0)
    assert CanvasView(lopsided, flip=True).borders() == (0, 0, 0.5, 0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bottom", [False, True])
def test_aligned_views_share_a_corner_with_the_picture(flip, right, bottom):
    view = CanvasView(CropWindow(-0.3, 0.2, 0.8, 1.4), flip).aligned(right=right, bottom=bottom)
    patch = Patch.of(view, (100, 100), (110, 120))
    assert (patch.target.right == 110) if right else (patch.target.left == 0)
    assert (patch.target.bottom == 120) if bottom else (patch.target.top == 0)
    np.testing.assert_allclose((view.window.width, view.window.height), (1.1, 1.2))


def test_a_view_beside_the_picture_shows_nothing():
    assert Patch.of(CanvasView(CropWindow(1.1, 0, 2.0, 1)), (50, 50), (20, 20)) is None
    assert Patch.of(CanvasView(CropWindow(0.999, 0, 2.0, 1)), (50, 50), (20, 20)) is None


def test_equal_sizes_are_copied():
    picture = levels(20, 30, 1)
    canvas = np.zeros((1, 20, 30), np.uint8)
    Patch.of(CanvasView(CropWindow(0, 0, 1, 1), flip=True), (30, 20), (30, 20)).paint(
        picture, canvas
    )
    np.testing.assert_array_equal(canvas[0], picture[:, ::-1, 0])


def test_boxes_of_which_too_little_is_left_are_dropped():
    area = Rect(0, 0, 100, 50)
    rows = np.array(
        [
            [0, 10, 10, 20, 20],
            [1, -89, 0, 11, 10],  # 0.11 of it left
            [2, -91, 0, 9, 10],  # 0.09
            [3, 10, 10, 10.9, 40],  # narrow
            [4, 10, 10, 40, 11],
            [5, 120, 10, 140, 20],  # beside
        ],
        float,
    )
    assert is_visible(rows, area).tolist() == [True, True, False, False, True, False]
    np.testing.assert_allclose(clipped(rows, area)[1], [1, 0, 0, 11, 10])
    assert (VISIBLE, SMALLEST) == (0.1, 1.0)


@pytest.mark.parametrize("letterbox", [False, True])
def test_cropped_windows_move_each_edge_by_itself(letterbox):
    augmentation, rng = Augmentation(jitter=0.2), random()
    views = [
        augmentation.draw_view(rng, (200, 100), (64, 64), letterbox=letterbox) for _ in range(400)
    ]
    windows = np.array([view.window for view in views])
    border = 0.5 if letterbox else 0.0
    middle = np.array([0, -border, 1, 1 + border])
    np.testing.assert_array_less(abs(windows - middle), 0.2 + 1e-9)
    assert (np.ptp(windows, axis=0) > 0.36).all()
    assert abs(np.corrcoef(windows.T) - np.eye(4)).max() < 0.2
    assert not any(view.flip for view in views)


@pytest.mark.parametrize(("resize", "least", "most"), [(1.5, 1 / 1.5, 1.5), (0.5, 1.0, 2.0)])
def test_resize_makes_windows_larger_or_smaller(resize, least, most):
    augmentation, rng = Augmentation(resize=resize), random()
    windows = [
        augmentation.draw_view(rng, (50, 50), (64, 64), letterbox=False).window for _ in range(500)
    ]
    widths = np.array([window.width for window in windows])
    assert least <= widths.min() < least + 0.1
    assert most - 0.1 < widths.max() <= most
    np.testing.assert_allclose(widths, [window.height for window in windows])


@pytest.mark.parametrize("canvas", [(64, 64), (96, 32), (32, 96)])
def test_placed_pictures_are_seen_whole_at_random_places(canvas):
    augmentation, rng = Augmentation(jitter=0.3, places=True, flip=True), random()
    views = [augmentation.draw_view(rng, (200, 120), canvas, letterbox=True) for _ in range(300)]
    windows = np.array([view.window for view in views])
    assert (windows[:, :2] <= 1e-9).all()
    assert (windows[:, 2:] >= 1 - 1e-9).all()
    sides = windows[:, 2:] - windows[:, :2]
    np.testing.assert_allclose(sides.min(axis=1), 1)
    ratios = canvas[0] / canvas[1] * sides[:, 1] / sides[:, 0]
    low, high = 200 / 120 * 0.7 / 1.3, 200 / 120 * 1.3 / 0.7
    assert low <= ratios.min() < 1.1 * low
    assert 0.9 * high < ratios.max() <= high
    assert 100 < sum(view.flip for view in views) < 200


def test_a_resize_that_is_not_positive_changes_nothing():
    window = Augmentation(resize=0.0).draw_view(random(), (9, 5), (64, 64), letterbox=False).window
    assert window == (0, 0, 1, 1)


def test_where_no_picture_is_seen_all_is_border():
    picture, rows = levels(9, 9, 3), np.array([[0, 0, 0, 1, 1]], float)
    view = CanvasView(CropWindow(2, 0, 3, 1))
    x, boxes = Augmentation(places=True).paint(random(), view, picture, rows, (8, 4))
    np.testing.assert_allclose(x, GREY / 255, rtol=1e-6)
    assert not len(boxes)


def test_windows_are_never_turned_inside_out():
    augmentation, rng = Augmentation(jitter=0.95), random()
    for _ in range(300):
        window = augmentation.draw_view(rng, (50, 50), (64, 64), letterbox=False).window
        assert min(window.width, window.height) >= NARROWEST - 1e-9


@pytest.mark.parametrize("places", [False, True])
def test_borders_are_grey_or_of_the_mean_colour(places):
    picture = np.full((40, 40, 3), (10, 20, 30), np.uint8)
    picture[:, 20:] = (30, 60, 90)
    view = CanvasView(CropWindow(-1, 0, 1, 1))
    x, _ = Augmentation(places=places).paint(random(), view, picture, NO_ROWS, (20, 10))
    expected = (GREY,) * 3 if places else (18, 36, 54)  # columns 0, 8, 16 of one, 24, 32 of another
    border = np.broadcast_to(np.reshape(expected, (3, 1, 1)), (3, 10, 10))
    np.testing.assert_allclose(x[:, :, :10] * 255, border, atol=0.01)


# --- Mosaic


@pytest.mark.parametrize("canvas", [(100, 60), (2, 2), (31, 300)])
def test_tiles_fill_the_canvas(canvas):
    for seed in range(30):
        tiles = list(draw_tiles(random(seed), canvas))
        count = np.zeros(canvas[::-1], int)
        for tile in tiles:
            count[tile.area.top : tile.area.bottom, tile.area.left : tile.area.right] += 1
        assert (count == 1).all()
        x, y = tiles[0].area.right, tiles[0].area.bottom
        assert EDGE * canvas[0] - 0.5 <= x <= (1 - EDGE) * canvas[0] + 0.5
        assert EDGE * canvas[1] - 0.5 <= y <= (1 - EDGE) * canvas[1] + 0.5


def test_tiles_show_as_little_border_as_they_can():
    for seed in range(40):
        rng = random(seed)
        for tile in draw_tiles(rng, (100, 100)):
            view = CanvasView(CropWindow(-0.3, -0.2, 1.2, 1.4), flip=bool(seed % 2))
            part = tile.choose(rng, view, (100, 100))
            width = (tile.area.right - tile.area.left) / 100
            height = (tile.area.bottom - tile.area.top) / 100
            np.testing.assert_allclose(part.window.width, 1.5 * width)
            np.testing.assert_allclose(part.window.height, 1.6 * height)
            left, top, right, bottom = part.borders()
            assert left + right <= max(0, 1 - 1 / (1.5 * width)) + 1e-9
            assert top + bottom <= max(0, 1 - 1 / (1.6 * height)) + 1e-9


# --- Blur and noise


def test_a_third_of_the_pictures_is_blurred_each_way():
    rng = random()
    drawn = [draw_blur(rng, 9) for _ in range(600)]
    assert all(150 < drawn.count(kind) < 250 for kind in (0, 1, 9))
    assert {draw_blur(rng, 0) for _ in range(20)} == {0}


def test_blur_of_the_background_spares_objects():
    x = random().random((3, 60, 80), np.float32)
    rows = np.array([[0, 10, 20, 40, 50], [1, -5, -5, 8, 8]], float)
    blurred = add_blur(x, 1, rows)
    np.testing.assert_array_equal(blurred[:, 20:50, 10:40], x[:, 20:50, 10:40])
    np.testing.assert_array_equal(blurred[:, :8, :8], x[:, :8, :8])
    rest = blurred[:, :, 50:]
    assert rest.std() < 0.2 * x.std()
    np.testing.assert_allclose(rest.mean(), x.mean(), atol=0.02)


def test_blur_is_finer_for_small_objects():
    x = random().random((1, 40, 40), np.float32)
    small, large = (np.array([[0, 2, 2, 2 + side, 38]], float) for side in (12, 30))
    assert add_blur(x, 9, small) is x
    spread = [add_blur(x, 9, rows).std() for rows in (NO_ROWS, large)]
    assert spread[0] < spread[1] < x.std()


def test_blur_fits_into_tiny_pictures():
    x = random().random((1, 3, 5), np.float32)
    assert add_blur(x, 1, NO_ROWS).shape == x.shape


def test_noise_has_the_deviation_asked_for_in_every_other_picture():
    x = np.full((3, 60, 60), 0.5, np.float32)
    spreads = [float(add_noise(x, 20, random(seed)).std()) for seed in range(60)]
    noisy = [spread for spread in spreads if spread]
    assert 18 < len(noisy) < 42
    np.testing.assert_allclose(noisy, 20 / 255, rtol=0.05)
    assert add_noise(x, 0, random()) is x


# --- What a cfg says


def of(head, net="", dialect="alexeyab", body=YOLO):
    lines = "\n".join(net.split())
    text = cfg_text("", (3, 64, 64)).rstrip() + f"\n{lines}\n" + body + head
    config = parse_cfg(text, file="test.cfg")
    return Augmentation.of(build_network(config, DIALECTS[dialect]))


def test_options_of_the_fork():
    found = of(
        "jitter=.3\nresize=1.5\n",
        "hue=.1 saturation=1.5 exposure=.75 mosaic=1 mosaic_bound=1 blur=3 gaussian_noise=9 flip=0",
    )
    assert found == Augmentation(
        jitter=0.3,
        resize=1.5,
        colours=ColourRange(hue=0.1, saturation=1.5, exposure=0.75),
        mosaic=True,
        bound=True,
        blur=3,
        noise=9,
    )


def test_defaults_of_the_fork():
    assert of("") == Augmentation(jitter=0.2, flip=True)


def test_the_original_places_and_always_mirrors():
    found = of("jitter=.3\n", "hue=.1 mosaic=1 flip=0", dialect="pjreddie")
    assert found == Augmentation(jitter=0.3, places=True, flip=True, colours=ColourRange(hue=0.1))


def test_the_last_head_counts():
    found = of("jitter=.3\n" + YOLO + "jitter=.1\n")
    assert found.jitter == 0.1


def test_classifiers_are_cropped():
    body = CONV.format(n=4) + "[avgpool]\n[softmax]\n"
    net = "min_crop=32 max_crop=96 angle=7 aspect=.75 saturation=.75"
    found = of("", net, body=body)
    assert found == Augmentation(
        flip=True,
        colours=ColourRange(saturation=0.75),
        crop=CropRange(least=0.5, most=1.5, angle=7.0, aspect=0.75),
    )


@pytest.mark.parametrize("key", ["mixup", "cutmix", "contrastive", "track"])
def test_keys_that_are_not_followed_are_told(caplog, key):
    of("", f"{key}=1")
    assert caplog.messages == [f"test.cfg:5: [net] {key}: not followed in training"]


def test_keys_without_influence_are_not_told(caplog):
    of("", "mixup=0 mosaic=1")
    assert not caplog.messages


def test_none_is_none():
    assert Augmentation.none().is_none
    assert Augmentation(places=True, bound=True).is_none
    assert not Augmentation(flip=True).is_none
    assert not Augmentation(crop=CropRange(most=2.0)).is_none

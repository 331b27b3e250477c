"""JPEG files: from libjpeg's levels to those of stb_image."""

import io

import numpy as np
import pytest

from darkconv.errors import DatasetError
from darkconv.pictures import jpeg
from darkconv.pictures.jpeg_blocks import restore
from darkconv.pictures.jpeg_transform import LIBJPEG, STB
from darkconv.pictures.picture import read_picture

image_module = pytest.importorskip("PIL.Image")

COARSE = np.add.outer(np.arange(8), np.arange(8)) + 3
FINE = np.maximum(COARSE - 5, 1)
SAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2), "4:4:0": (1, 2)}


def photograph(height, width, seed=0):
    """Smooth shades with some noise, not touching 0 and 255."""
    stream = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / stream.uniform(4, 30) + y / stream.uniform(4, 30)) for _ in range(3)]
    noise = stream.normal(scale=3, size=(height, width, 3))
    return (128 + 90 * np.stack(waves, axis=2) + noise).clip(8, 247).astype(np.uint8)


def encoded(picture, **options):
    stream = io.BytesIO()
    if options.pop("flat_pairs", False):  # Pillow has no name for 4:4:0: code 4:2:2 on its side
        return sideways(picture, **options)
    image_module.fromarray(picture).save(stream, "JPEG", **{"quality": 80, **options})
    return stream.getvalue()


def sideways(picture, **options):
    """4:4:0: the picture's 4:2:2 with the sampling factors of its header exchanged."""
    content = bytearray(encoded(picture, subsampling="4:2:2", **options))
    place = content.index(b"\xff\xc0") + 11
    assert content[place] == 0x21
    content[place] = 0x12
    return bytes(content)


def decoded(content, channels):
    with image_module.open(io.BytesIO(content)) as image:
        return jpeg.decode(image, content, channels=channels)


def as_decoded(content, mode="RGB"):
    with image_module.open(io.BytesIO(content)) as image:
        image.draft(mode, image.size)
        return np.asarray(image)


def blocks(divisors, count, seed=0):
    """(count, 64) coefficients of blocks that do not touch 0 and 255."""
    stream = np.random.default_rng(seed)
    spread = 60 / (1 + np.add.outer(np.arange(8), np.arange(8)) ** 2)
    raw = stream.normal(scale=spread, size=(count, 8, 8))
    return (np.rint(raw / divisors) * divisors).reshape(count, 64).astype(np.float32)


def side_by_side(flat):
    return np.hstack(flat.reshape(-1, 8, 8))


@pytest.mark.parametrize("inverse", [STB, LIBJPEG])
def test_both_transforms_are_the_cosine_transform_to_a_level(inverse):
    place = np.arange(8)
    waves = np.cos((2 * place[:, None] + 1) * place * np.pi / 16) / 2
    waves[:, 0] /= np.sqrt(2)
    given = blocks(COARSE, 50)
    exact = waves @ given.reshape(-1, 8, 8).astype(float) @ waves.T + 128
    assert np.abs(inverse(given) - exact.reshape(-1, 64).clip(0, 255)).max() < 0.6


def test_levels_are_restored_exactly_from_coarse_coefficients():
    coefficients = blocks(COARSE, 400)
    libjpeg, stb = (side_by_side(inverse(coefficients)) for inverse in (LIBJPEG, STB))
    assert (libjpeg != stb).any()
    np.testing.assert_array_equal(restore(libjpeg, COARSE), stb)


def test_most_levels_are_restored_where_divisors_are_1():
    coefficients = blocks(FINE, 400)
    libjpeg, stb = (side_by_side(inverse(coefficients)) for inverse in (LIBJPEG, STB))
    restored = restore(libjpeg, FINE)
    assert (restored != stb).mean() < 0.2 * (libjpeg != stb).mean()
    assert np.abs(restored.astype(int) - libjpeg).max() <= 1


def test_clipped_levels_are_restored():
    coefficients = blocks(COARSE, 400)
    coefficients[:, 0] += 300 * COARSE[0, 0]
    libjpeg, stb = (side_by_side(inverse(coefficients)) for inverse in (LIBJPEG, STB))
    assert 0.01 < (libjpeg == 255).mean() < 0.99
    assert (restore(libjpeg, COARSE) != stb).mean() < 0.2 * (libjpeg != stb).mean()


def test_levels_of_no_file_stay_as_they_are():
    noise = np.random.default_rng(0).integers(0, 256, (16, 24)).astype(np.uint8)
    np.testing.assert_array_equal(restore(noise, np.full((8, 8), 40)), noise)
    restore(noise, np.ones((8, 8), int))


@pytest.mark.parametrize("height", [2, 3, 8, 31])
def test_an_enlargement_is_undone_exactly(height):
    small = np.random.default_rng(height).integers(0, 256, (height, 40)).astype(np.uint8)
    for rows in (2 * height, 2 * height - 1):
        large = jpeg.enlarge_down(small, rows)
        large[::2] += 1
        large[1::2] += 2
        np.testing.assert_array_equal(jpeg.reduce_down((large >> 2).astype(np.uint8)), small)


@pytest.mark.parametrize("size", [(64, 48), (37, 51), (8, 8), (2, 2), (3, 9), (17, 2)])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_sampling_is_near_libjpegs_picture(sampling, size):
    kind = {"flat_pairs": True} if sampling == "4:4:0" else {"subsampling": sampling}
    content = encoded(photograph(*size), **kind)
    with image_module.open(io.BytesIO(content)) as image:
        parts = jpeg.components(image)
    assert parts[0].sampling == SAMPLINGS[sampling]
    found, libjpeg = decoded(content, channels=3), as_decoded(content)
    assert found.shape == libjpeg.shape
    errors = np.abs(found.astype(int) - libjpeg)
    if sampling.startswith("4:2"):
        # stb_image makes the last pair of 4:2:2 otherwise; libjpeg repeats up to two samples
        errors = errors[:, :-2] if size[1] > 4 else np.zeros(1)
    assert errors.max() <= 3
    assert errors.mean() <= 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 1)])
def test_lines_are_left_to_pillow(tmp_path, size):
    (tmp_path / "a.jpg").write_bytes(content := encoded(photograph(*size)))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg", exact=True), as_decoded(content))


def test_the_last_pair_of_columns_is_stb_images():
    content = encoded(photograph(32, 64), subsampling="4:2:2")
    planes = as_decoded(content, "YCbCr")
    small = jpeg.reduce_down(planes[:, :, 1].T).T.astype(int)
    with image_module.open(io.BytesIO(content)) as image:
        parts = jpeg.components(image)
    blue, _ = jpeg.full_chroma(content, planes, parts)
    expected = (3 * small[:, -2] + small[:, -1] + 2) // 4
    assert np.abs(blue[:, -2] - expected).max() <= 1
    assert np.abs(blue[:, -1] - small[:, -1]).max() <= 1


def test_colours_are_converted_by_integers():
    y, cb, cr = np.random.default_rng(0).integers(0, 256, (3, 70, 9)).astype(np.uint8)
    found = jpeg.to_rgb(y, cb, cr)
    blue, red = cb - 128.0, cr - 128.0
    exact = [y + 1.402 * red, y - 0.34414 * blue - 0.71414 * red, y + 1.772 * blue]
    assert np.abs(found - np.stack(exact, axis=2).clip(0, 255)).max() < 0.6
    np.testing.assert_array_equal(jpeg.to_rgb(y, y * 0 + 128, y * 0 + 128)[:, :, 1], y)


def test_progressive_files_are_the_same_picture():
    picture = photograph(40, 40)
    plain, progressive = (
        decoded(encoded(picture, progressive=kind), channels=3) for kind in (False, True)
    )
    np.testing.assert_array_equal(plain, progressive)


def test_grey_is_the_files_own_luma():
    content = encoded(photograph(24, 40))
    luma = decoded(content, channels=1)
    assert luma.shape == (24, 40, 1)
    assert np.abs(luma[:, :, 0].astype(int) - as_decoded(content, "L")).max() <= 1
    grey = decoded(encoded(photograph(24, 40)[:, :, 0]), channels=3)
    assert grey.shape == (24, 40, 3)
    assert (grey[:, :, 0] == grey[:, :, 2]).all()


@pytest.mark.parametrize("kind", ["CMYK", "RGB", "4:1:1"])
def test_other_files_are_left_to_pillow(tmp_path, kind):
    picture = photograph(16, 24)
    if kind == "CMYK":
        image_module.fromarray(picture).convert("CMYK").save(tmp_path / "a.jpg")
    elif kind == "RGB":
        (tmp_path / "a.jpg").write_bytes(encoded(picture, keep_rgb=True, subsampling="4:4:4"))
    else:
        (tmp_path / "a.jpg").write_bytes(encoded(picture, subsampling="4:1:1"))
    content = (tmp_path / "a.jpg").read_bytes()
    assert kind == "4:1:1" or decoded(content, channels=3) is None
    with image_module.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(read_picture(tmp_path / "a.jpg", exact=True) - expected).max() <= 3


def test_files_of_several_pictures_are_read(tmp_path):
    first = image_module.fromarray(photograph(24, 16))
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[first])
    with image_module.open(tmp_path / "a.mpo") as image:
        assert image.format == "MPO"
        expected = np.asarray(image).astype(int)
    assert np.abs(read_picture(tmp_path / "a.mpo", exact=True) - expected).max() <= 3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_are_turned_with_their_levels(tmp_path, orientation, channels):
    image = image_module.fromarray(photograph(24, 40))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.jpg", exif=exif)
    image.save(tmp_path / "lying.jpg")
    turns = {3: 2, 6: 3, 8: 1}[orientation]
    lying = read_picture(tmp_path / "lying.jpg", channels=channels, exact=True)
    turned = read_picture(tmp_path / "turned.jpg", channels=channels, exact=True)
    np.testing.assert_array_equal(turned, np.rot90(lying, turns))


def test_without_exactness_the_levels_are_pillows(tmp_path):
    (tmp_path / "a.jpg").write_bytes(content := encoded(photograph(32, 32)))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg"), as_decoded(content))
    assert (read_picture(tmp_path / "a.jpg", exact=True) != as_decoded(content)).any()


def test_large_pictures_are_done_in_parts():
    """More blocks than fit in one part, and none at the seams that differs."""
    picture = photograph(320, 320)
    content = encoded(picture, subsampling="4:4:4")
    whole = decoded(content, channels=3)
    assert np.abs(whole.astype(int) - as_decoded(content)).max() <= 3
    top = decoded(encoded(picture[:64], subsampling="4:4:4"), channels=3)
    np.testing.assert_array_equal(whole[:64], top)


def test_broken_files_are_refused(tmp_path):
    content = encoded(photograph(64, 64))
    (tmp_path / "a.jpg").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(DatasetError, match="cannot be read as a picture"):
        read_picture(tmp_path / "a.jpg", exact=True)

"""Pictures that cannot be read, odd ones that can, and sets of which one is broken."""

import io
import os
import struct
import zlib

import numpy as np
import pytest

from bad.catalogue import Accepted, Refused, check, run
from darkconv.pictures.picture import read_picture

image_module = pytest.importorskip("PIL.Image")

DETECT = "detect net.cfg net.weights {} --threshold 0.9"
EXIF_ORIENTATION = 274
DEEP = "warning: {}: 16-bit picture, read as 8-bit\n"
CLEAR = "warning: {}: transparency is dropped, as Darknet does\n"
TURNED = "warning: {}: turned upright as its EXIF data say\n"
BROKEN_EXIF = "warning: {}: its EXIF data are broken and ignored\n"


def levels(height=20, width=30, channels=3):
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)


def encoded(picture, kind, **options):
    """The bytes of a file of that kind."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(kind="JPEG", **options):
    return encoded(image_module.fromarray(levels()), kind, **options)


def cut(data, share):
    return data[: int(share * len(data))]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows, *, depth=8, colour=2):
    """A PNG file whose header may say anything."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def with_flipped_byte(data, place):
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def with_12_bits():
    data = photo()
    return data[: data.index(b"\xff\xc0") + 4] + b"\x0c" + data[data.index(b"\xff\xc0") + 5 :]


def turned(orientation):
    exif = image_module.Exif()
    exif[EXIF_ORIENTATION] = orientation
    return exif


def with_broken_exif():
    data = photo(exif=turned(6))
    start = data.index(b"Exif\0\0") + 6
    return data[:start] + b"\xff" * 8 + data[start + 8 :]


def file(name, data):
    """A rule that writes a file."""
    return lambda folder: (folder / name).write_bytes(data() if callable(data) else data)


def sparse(folder):
    with (folder / "x.bmp").open("wb") as handle:
        handle.truncate((1 << 30) + 1)


def refused(name, picture, error, data):
    return Refused(name, DETECT.format(picture), error, file(picture, data))


def accepted(name, picture, data, stderr=""):
    return Accepted(name, DETECT.format(picture), stderr, file(picture, data), stdout=picture)


GREY_16 = png(3, 1, b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0x00FF), depth=16, colour=0)
RGB_16 = png(1, 1, b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0x00FF), depth=16)

REFUSED = [
    refused(
        "JPEG cut in its header",
        "x.jpg",
        "x.jpg: cannot be read as a picture: Truncated File Read",
        lambda: photo()[:100],
    ),
    refused(
        "JPEG cut in its scan",
        "x.jpg",
        "x.jpg: cannot be read as a picture: image file is truncated (97 bytes not processed)",
        lambda: cut(photo(), 0.8),
    ),
    refused(
        "JPEG of 12 bits",
        "x.jpg",
        "x.jpg: is a JPEG picture that is broken or of an unknown kind",
        with_12_bits,
    ),
    refused("no bytes", "x.jpg", "x.jpg: is empty", b""),
    refused("a text file", "x.jpg", "x.jpg: is a text file, not a picture", b"hello\n"),
    refused(
        "an HTML page",
        "x.jpg",
        "x.jpg: is an HTML page, not a picture\n"
        "  hint: the download failed: the server sent a page instead of the file",
        b"<!DOCTYPE html>\n<html><title>404</title></html>\n",
    ),
    refused(
        "a Git LFS pointer",
        "x.png",
        "x.png: is a Git LFS pointer, not a picture\n  hint: fetch the file itself: git lfs pull",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    ),
    refused(
        "a PDF document",
        "x.png",
        "x.png: is a PDF document, not a picture",
        b"%PDF-1.7\n" + bytes(64),
    ),
    refused(
        "a zip archive",
        "x.png",
        "x.png: is a zip archive (perhaps a PyTorch or Keras file), not a picture",
        b"PK\x03\x04" + bytes(64),
    ),
    refused("NUL bytes", "x.bmp", "x.bmp: is not a picture in a known format", bytes(1000)),
    refused(
        "PNG with a broken checksum",
        "x.png",
        "x.png: cannot be read as a picture: broken data stream when reading image file",
        lambda: with_flipped_byte(png(4, 4, bytes(52)), 50),
    ),
    refused(
        "PNG with a broken header",
        "x.png",
        "x.png: is a PNG picture that is broken or of an unknown kind",
        lambda: with_flipped_byte(png(4, 4, bytes(52)), 30),
    ),
    refused(
        "PNG cut in half",
        "x.png",
        "x.png: cannot be read as a picture: image file is truncated",
        lambda: cut(photo("PNG"), 0.5),
    ),
    refused(
        "GIF cut in half",
        "x.gif",
        "x.gif: is not a picture in a known format",
        lambda: cut(photo("GIF"), 0.5),
    ),
    refused(
        "WebP cut in half",
        "x.webp",
        "x.webp: cannot be read as a picture: could not create decoder object",
        lambda: cut(photo("WEBP"), 0.5),
    ),
    refused(
        "BMP cut in half",
        "x.bmp",
        "x.bmp: cannot be read as a picture: image file is truncated (65 bytes not processed)",
        lambda: cut(photo("BMP"), 0.5),
    ),
    refused(
        "TIFF cut in half",
        "x.tif",
        "x.tif: cannot be read as a picture: image file is truncated (20 bytes not processed)",
        lambda: cut(photo("TIFF"), 0.5),
    ),
    refused(
        "a decompression bomb",
        "x.png",
        "x.png: expected a picture of at most 89,478,485 pixels, found 10,000,000,000",
        png(100_000, 100_000, bytes(100_000)),
    ),
    refused(
        "30,000 pixels wide and high",
        "x.png",
        "x.png: expected a picture of at most 89,478,485 pixels, found 900,000,000",
        png(30_000, 30_000, bytes(100_000)),
    ),
    refused(
        "just too many pixels",
        "x.png",
        "x.png: expected a picture of at most 89,478,485 pixels, found 89,480,000",
        png(10_000, 8948, bytes(100_000)),
    ),
    refused(
        "a size of 0",
        "x.png",
        "x.png: is a PNG picture that is broken or of an unknown kind",
        png(0, 10, bytes(10)),
    ),
    refused(
        "floating-point levels",
        "x.tif",
        "x.tif: expected levels of 8 or 16 bits, found 0.5 to 0.5",
        lambda: encoded(image_module.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"),
    ),
    refused(
        "levels beyond 16 bits",
        "x.tif",
        "x.tif: expected levels of 8 or 16 bits, found 70000 to 70000",
        lambda: encoded(image_module.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"),
    ),
    Refused(
        "a file of more than a GiB",
        DETECT.format("x.bmp"),
        "x.bmp: expected a picture of at most 1,073,741,824 bytes, found 1,073,741,825",
        sparse,
    ),
    Refused("no such picture", DETECT.format("x.jpg"), "x.jpg: no such file"),
    Refused(
        "a folder without pictures",
        DETECT.format("x.jpg"),
        "x.jpg: holds no pictures",
        lambda folder: (folder / "x.jpg").mkdir(),
    ),
    Refused(
        "a folder in place of a picture",
        "verify net.cfg net.weights --image x.jpg",
        "x.jpg: is a folder, not a picture",
        lambda folder: (folder / "x.jpg").mkdir(),
    ),
    Refused(
        "a pipe",
        DETECT.format("x.jpg"),
        "x.jpg: is no file",
        lambda folder: os.mkfifo(folder / "x.jpg"),
    ),
]

ACCEPTED = [
    accepted("1x1", "x.png", png(1, 1, b"\0abc")),
    accepted("30,000 pixels wide", "x.png", png(30_000, 30, (b"\0" + bytes(90_000)) * 30)),
    accepted("30,000 pixels high", "x.png", png(2, 30_000, (b"\0" + bytes(6)) * 30_000)),
    accepted("grey of 16 bits", "x.png", GREY_16, DEEP.format("x.png")),
    accepted("colours of 16 bits", "x.png", RGB_16, DEEP.format("x.png")),
    accepted(
        "palette", "x.png", lambda: encoded(image_module.fromarray(levels()).convert("P"), "PNG")
    ),
    accepted(
        "palette with transparency",
        "x.png",
        lambda: encoded(
            image_module.fromarray(levels()).convert("P"), "PNG", transparency=bytes([0, 128] * 128)
        ),
        CLEAR.format("x.png"),
    ),
    accepted(
        "alpha",
        "x.png",
        lambda: encoded(image_module.fromarray(levels(channels=4)), "PNG"),
        CLEAR.format("x.png"),
    ),
    accepted(
        "alpha that is opaque",
        "x.png",
        lambda: encoded(image_module.fromarray(levels()).convert("RGBA"), "PNG"),
    ),
    accepted(
        "grey with alpha",
        "x.png",
        lambda: encoded(image_module.fromarray(levels(channels=2)), "PNG"),
        CLEAR.format("x.png"),
    ),
    accepted(
        "1 bit", "x.png", lambda: encoded(image_module.fromarray(levels()).convert("1"), "PNG")
    ),
    accepted("turned by EXIF", "x.jpg", lambda: photo(exif=turned(6)), TURNED.format("x.jpg")),
    accepted(
        "PNG turned by EXIF", "x.png", lambda: photo("PNG", exif=turned(3)), TURNED.format("x.png")
    ),
    accepted("an orientation that does not exist", "x.jpg", lambda: photo(exif=turned(77))),
    accepted("broken EXIF data", "x.jpg", with_broken_exif),
    accepted(
        "PNG with broken EXIF data",
        "x.png",
        lambda: photo("PNG", exif=b"\xff" * 40),
        BROKEN_EXIF.format("x.png"),
    ),
    accepted(
        "CMYK",
        "x.jpg",
        lambda: encoded(image_module.fromarray(levels()).convert("CMYK"), "JPEG"),
        "warning: x.jpg: CMYK picture, read as RGB\n",
    ),
    accepted("progressive", "x.jpg", lambda: photo(progressive=True)),
    accepted(
        "grey JPEG", "x.jpg", lambda: encoded(image_module.fromarray(levels()).convert("L"), "JPEG")
    ),
    accepted("another suffix than its format", "x.jpg", lambda: photo("PNG")),
    accepted("GIF", "x.gif", lambda: photo("GIF")),
    accepted("TIFF", "x.tif", lambda: photo("TIFF")),
]


@pytest.mark.parametrize("case", [*REFUSED, *ACCEPTED], ids=str)
def test_case(case, folder):
    check(case, folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_without_permission_is_refused(folder):
    (folder / "pics/0.png").chmod(0)
    check(
        Refused("", DETECT.format("pics/0.png"), "pics/0.png: cannot read: Permission denied"),
        folder,
    )


# pixels


def read(tmp_path, data, name="a.png", **options):
    (tmp_path / name).write_bytes(data)
    return read_picture(tmp_path / name, **options)


def test_of_16_bits_the_upper_8_count(tmp_path):
    assert read(tmp_path, GREY_16).tolist() == [[[255] * 3, [128] * 3, [0] * 3]]
    assert read(tmp_path, RGB_16).tolist() == [[[255, 128, 0]]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_leaves_the_colours_as_they_are(tmp_path, mode):
    opaque = image_module.fromarray(levels()).convert("L" if mode == "LA" else "RGB")
    if mode == "P":
        opaque = opaque.convert("P")
        data = encoded(opaque, "PNG", transparency=bytes(256))
    else:
        seen = opaque.copy()
        seen.putalpha(3)
        data = encoded(seen, "PNG")
    np.testing.assert_array_equal(read(tmp_path, data), np.array(opaque.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_equal_the_upright_one(tmp_path, kind, orientation):
    from PIL import ImageOps

    data = photo(kind, exif=turned(orientation))
    lying = read(tmp_path, photo(kind), "upright")
    expected = image_module.fromarray(lying)
    expected.getexif()[EXIF_ORIENTATION] = orientation
    expected = np.array(ImageOps.exif_transpose(expected))
    np.testing.assert_array_equal(read(tmp_path, data), expected)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PPM", "PNG"])
def test_formats_without_loss_give_the_same_levels(tmp_path, kind):
    palette = image_module.fromarray(levels()).quantize(16)
    data = encoded(palette if kind == "GIF" else palette.convert("RGB"), kind)
    np.testing.assert_array_equal(read(tmp_path, data), np.array(palette.convert("RGB")))


def test_one_bit_is_black_and_white(tmp_path):
    bits = levels(channels=1)[:, :, 0] > 99
    picture = read(tmp_path, encoded(image_module.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(picture, np.repeat(bits[:, :, None] * 255, 3, axis=2))


def test_cmyk_is_not_inverted(tmp_path):
    white = encoded(image_module.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    red = encoded(image_module.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    assert (read(tmp_path, white, "w.jpg") > 250).all()
    assert np.abs(read(tmp_path, red, "r.jpg").astype(int) - [255, 0, 0]).max() < 5


def test_a_grey_jpeg_is_grey_in_all_channels(tmp_path):
    picture = read(tmp_path, encoded(image_module.fromarray(levels()).convert("L"), "JPEG"))
    assert (picture == picture[:, :, :1]).all()


def test_a_wide_picture_is_read_to_its_end(tmp_path):
    rows = (b"\0" + bytes(89_997) + b"\x01\x02\x03") * 2
    picture = read(tmp_path, png(30_000, 2, rows))
    assert picture.shape == (2, 30_000, 3)
    assert picture[1, -1].tolist() == [1, 2, 3]


def test_a_warning_is_given_once_however_often_a_picture_is_read(tmp_path, caplog):
    for _ in range(3):
        read_picture(tmp_path / "a.png") if caplog.messages else read(tmp_path, GREY_16)
    assert caplog.messages == [f"{tmp_path / 'a.png'}: 16-bit picture, read as 8-bit"]
    os.utime(tmp_path / "a.png", (1, 1))
    read_picture(tmp_path / "a.png")
    assert len(caplog.messages) == 2


# sets

BROKEN = "pics/2.png: cannot be read as a picture: image file is truncated"
UNREAD = "1 of 4 pictures could not be read"
SETS = {
    "detect net.cfg net.weights pics": [f"{BROKEN}: skipped", UNREAD],
    "detect net.cfg net.weights pics --json": [f"{BROKEN}: skipped", UNREAD],
    "profile net.cfg net.weights pics -o p.npz": [f"{BROKEN}: skipped", f"pics: {UNREAD}"],
    "eval net.cfg net.weights --data net.data": [
        f"{BROKEN}: its boxes count as missed",
        f"net.data: {UNREAD}",
    ],
    "eval net.cfg net.weights --data net.data --report r.html": [
        f"{BROKEN}: its boxes count as missed",
        f"net.data: {UNREAD}",
    ],
    "dissect net.cfg net.weights --keep cat,dog --all-pictures --images pics -o d.cfg d.weights": [
        f"{BROKEN}: skipped",
        f"pics: {UNREAD}",
    ],
    "finetune net.cfg net.weights --data net.data --steps 2 --batch 4 -o t.cfg t.weights"
    " --workers 0": [
        f"{BROKEN}; another picture stands in for it",
        f"{BROKEN}: its boxes count as missed",
        f"net.data: {UNREAD}",
    ],
    "convert net.cfg net.weights -o q.onnx --int8 --calibrate pics": [
        f"{BROKEN}: left out",
        f"pics: {UNREAD}",
    ],
    "data check net.data": [],
}  # fmt: skip


def warnings(text):
    start = "warning: "
    return [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]


def break_picture(folder, number):
    """Cut a picture in half. It has an empty label file, which nobody opens it for."""
    path = folder / f"pics/{number}.png"
    path.write_bytes(cut(path.read_bytes(), 0.5))
    path.with_suffix(".txt").write_text("")


@pytest.mark.parametrize("command", SETS, ids=lambda command: " ".join(command.split()[:1]))
def test_one_broken_picture_of_a_set_is_told_and_the_others_are_used(folder, command):
    break_picture(folder, 2)
    outcome = run(command.split(), folder)
    assert outcome.status == 0, outcome.stderr
    assert warnings(outcome.stderr) == SETS[command]
    if command.startswith("data check"):
        assert f"pictures that cannot be read: 1\n  {BROKEN}\n" in outcome.stdout


NO_LABEL = "net.data: no label is of a class of the model: expected cat, dog, fox, found no labels"
ALL = {
    "detect net.cfg net.weights pics": "none of 4 pictures could be read",
    "profile net.cfg net.weights pics -o p.npz": "pics: no picture could be read",
    "eval net.cfg net.weights --data net.data":
        f"{NO_LABEL}\n  hint: darkconv data check shows where labels were looked for",
    "finetune net.cfg net.weights --data net.data --steps 2 -o t.cfg t.weights": NO_LABEL,
    "dissect net.cfg net.weights --keep cat --all-pictures --images pics -o d.cfg d.weights":
        "pics: no picture could be read",
    "convert net.cfg net.weights -o q.onnx --int8 --calibrate pics":
        "pics: no picture could be read",
}  # fmt: skip


@pytest.mark.parametrize("command", ALL, ids=lambda command: " ".join(command.split()[:1]))
def test_a_set_of_broken_pictures_is_refused(folder, command):
    for number in range(4):
        break_picture(folder, number)
    before = sorted(folder.rglob("*"))
    outcome = run(command.split(), folder)
    assert outcome.status == 1
    assert outcome.stderr.partition("error: ")[2] == ALL[command] + "\n"
    assert sorted(folder.rglob("*")) == before

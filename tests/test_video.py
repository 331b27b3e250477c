"""Videos: read frame by frame, looked at, drawn, and whole whatever ends them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures, load_digits10
from darkconv.cli import main
from darkconv.detection import reading
from darkconv.detection.clip import Clip, is_clip, writing_clip
from darkconv.detection.reading import read_ahead
from darkconv.detection.sources import open_source
from darkconv.detection.video import Video, is_video, levels_of
from darkconv.errors import DarkconvError, DatasetError, MissingDependencyError
from darkconv.pictures.picture import read_picture

av = pytest.importorskip("av")
pytest.importorskip("torch")

FRAMES = 12
MODEL = [str(digits10_folder() / f"digits10.{kind}") for kind in ("cfg", "weights")]


def write(path, count=FRAMES, rate=10):
    """The bundled pictures, one after the other."""
    clip = Clip(path, name=path.name, rate=Fraction(rate))
    pictures = digits10_pictures()
    for number in range(count):
        clip.write(read_picture(pictures[number % len(pictures)]), number / rate)
    clip.close()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write(tmp_path_factory.mktemp("video") / "a.mp4")


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words, status=0):
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == status, result.output
        return result

    return call


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    clip = Clip(path, name=path.name, rate=Fraction(10))
    for number in range(5):
        clip.write(np.full((33, 47, 3), 50 * number, np.uint8), number / 10)
    clip.close()
    found = list(Video(path).frames())
    assert [number for number, *_ in found] == list(range(5))
    assert [time for _, time, _ in found] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=2e-3)
    for number, _, levels in found:
        assert levels.shape == (34, 48, 3)
        assert levels.mean() == pytest.approx(50 * number, abs=6)
    assert is_clip(path)


def test_frames_come_in_order_with_number_and_time(video):
    frames = list(dc.Detector(load_digits10()).stream(video))
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.time for frame in frames] == pytest.approx([n / 10 for n in range(FRAMES)])
    assert {frame.source for frame in frames} == {str(video)}
    detector = dc.Detector(load_digits10())
    for frame in frames:
        assert frame.found == detector(frame.picture)
    assert sum(len(frame.found) for frame in frames) > FRAMES


def test_each_nth_frame_and_batches_give_the_same(video):
    model = load_digits10()
    every = [frame.found.names for frame in dc.Detector(model).stream(video)]
    some = list(dc.Detector(model, batch=5).stream(str(video), every=3))
    assert [frame.index for frame in some] == [0, 3, 6, 9]
    assert [frame.found.names for frame in some] == every[::3]


def test_videos_and_pictures_can_be_mixed(video):
    sources = [digits10_pictures()[0], video]
    found = list(dc.Detector(load_digits10()).stream(sources, every=4))
    assert [frame.time is None for frame in found] == [True, False, False, False]
    assert open_source([video, video]).count == 2 * FRAMES


def test_a_source_is_told_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for one in (0, "0", "a.MP4", "rtsp://host/a", "http://host/a"):
        assert is_video(one), one
    (tmp_path / "0").write_bytes(b"")
    for other in ("0", True, "a.png", b"a.mp4", np.zeros((2, 2, 3), np.uint8), "folder", None):
        assert not is_video(other), other


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "is empty"), (b"text" * 99, "cannot be read as a video")],
)
def test_what_is_no_video_is_named(tmp_path, content, message):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        list(dc.Detector(load_digits10()).stream(path))
    assert caught.value.where.file == str(path)


def test_addresses_are_told_without_their_passwords():
    with pytest.raises(DatasetError, match="cannot be read as a video") as caught:
        Video("rtsp://user:secret@127.0.0.1:9/a")
    assert "secret" not in str(caught.value)
    assert "rtsp://127.0.0.1:9/a" in str(caught.value)


def test_pyav_is_in_an_extra_of_its_own(monkeypatch, video):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        MissingDependencyError, match=r"reading videos needs av.*\n.*darkconv\[video"
    ):
        Video(video)


def test_a_missing_camera_is_an_error():
    with pytest.raises(DatasetError, match="camera 97: cannot be read"):
        Video(97)


def test_a_cut_file_is_an_error_or_is_skipped(tmp_path, caplog):
    whole = write(tmp_path / "a.avi", 30)
    content = bytearray(whole.read_bytes())
    start, end = len(content) // 3, len(content) // 2
    content[start:end] = np.random.default_rng(0).integers(0, 256, end - start, np.uint8).tobytes()
    whole.write_bytes(content)
    frames = list(dc.Detector(load_digits10()).stream(whole, unreadable="skip"))
    assert 0 < len(frames) <= 31


def test_pictures_are_turned_as_a_video_says():
    class Frame:
        rotation = -90

        def to_ndarray(self, format):
            return np.arange(18, dtype=np.uint8).reshape(2, 3, 3)

    levels = levels_of(Frame())
    assert levels.shape == (3, 2, 3)
    assert (levels[0, -1] == [0, 1, 2]).all()  # by a quarter to the right


def test_the_newest_frame_is_taken_of_what_is_live(caplog):
    ready = threading.Event()

    def frames():
        yield 0
        ready.wait(5)
        yield from range(1, 6)

    taken = []
    for one in read_ahead(frames(), 4, newest=True):
        taken.append(one)
        ready.set()
        time.sleep(0.2)
    assert taken[0] == 0
    assert taken[-1] == 5
    assert len(taken) < 6
    assert "frames came faster than they were looked at: left out" in caplog.text


def test_reading_ends_with_whoever_reads():
    given = []

    def frames():
        for number in range(10**6):
            given.append(number)
            yield number

    ahead = read_ahead(frames(), 2)
    assert next(ahead) == 0
    ahead.close()
    count = len(given)
    assert count < 10
    time.sleep(2 * reading.WAIT)
    assert len(given) == count


def test_errors_of_a_source_come_at_their_place():
    def frames():
        yield 1
        raise DatasetError("broken")

    ahead = read_ahead(frames(), 4)
    assert next(ahead) == 1
    with pytest.raises(DatasetError, match="broken"):
        next(ahead)


def test_a_clip_that_fails_leaves_no_file(tmp_path):
    def begin(error):
        with writing_clip(tmp_path / "a.mp4") as clip:
            clip.write(np.zeros((16, 16, 3), np.uint8))
            raise error

    with pytest.raises(ValueError, match="bad"):
        begin(ValueError("bad"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        begin(KeyboardInterrupt())
    assert len(list(Video(tmp_path / "a.mp4").frames())) == 1
    with (
        pytest.raises(DarkconvError, match="there is no frame to write"),
        writing_clip(tmp_path / "b.mp4"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(DarkconvError, match=r"cannot write a video.*ends in .mp4"):
        Clip(tmp_path / "a.gif", name="a.gif")


def test_detect_draws_a_video_and_prints_lines(run, video, tmp_path):
    result = run("detect", *MODEL, video, "-o", "drawn.mp4", "--json", "--every", 2, "--batch", 3)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(0, FRAMES, 2))
    assert lines[1]["time"] == pytest.approx(0.2)
    assert lines[0]["source"] == str(video)
    assert set(lines[0]["detections"][0]) == {"class_id", "name", "score", "box"}
    assert "drew drawn.mp4" in result.stderr
    assert "6 frames, " in result.stderr
    drawn = list(Video(tmp_path / "drawn.mp4").frames())
    assert [time for _, time, _ in drawn] == pytest.approx([0.2 * n for n in range(6)])
    run("detect", *MODEL, video, "-o", "drawn.mp4")  # its own drawing is replaced
    assert len(list(Video(tmp_path / "drawn.mp4").frames())) == FRAMES


def test_detect_prints_a_line_for_each_frame(run, video):
    lines = run("detect", *MODEL, video, "--every", 6).stdout.splitlines()
    assert lines[0].startswith("frame 0, 0.00 s: ")
    assert "%" in lines[0]
    assert lines[1].startswith("frame 6, 0.60 s: ")


def test_detect_refuses_what_would_be_lost(run, video, tmp_path):
    write(tmp_path / "b.mp4", 2)
    with av.open(str(tmp_path / "c.mp4"), "w") as foreign:
        stream = foreign.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        frame = av.VideoFrame(16, 16, "yuv420p")
        foreign.mux([*stream.encode(frame), *stream.encode(None)])
    for words, status, message in (
        ((video, "-o", video), 1, "would be replaced"),
        ((video, "-o", "c.mp4"), 1, "was not made by darkconv"),
        ((video, "-o", "a.gif"), 1, "a video is drawn into a video"),
        ((video, "b.mp4"), 2, "is looked at by itself"),
        ((video, "a.png"), 2, "is looked at by itself"),
        ((video, "--every", 0), 2, "--every"),
        (("missing.mp4",), 1, "missing.mp4: no such file"),
    ):
        assert message in run("detect", *MODEL, *words, status=status).stderr
    run("detect", *MODEL, video, "-o", "c.mp4", "--overwrite")
    run("detect", *MODEL, video, "-o", "folder")
    assert is_clip(tmp_path / "folder" / "a.mp4")


def test_show_needs_a_screen(run, video, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    pytest.importorskip("tkinter")
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is a screen")
    for source in (video, digits10_pictures()[0]):
        assert "there is no screen" in run("detect", *MODEL, source, "--show", status=1).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others")
def test_an_interruption_leaves_a_whole_file(tmp_path):
    source = write(tmp_path / "a.mp4", 1000, rate=30)
    words = [sys.executable, "-m", "darkconv", "detect", *MODEL, str(source), "-o", "b.mp4"]
    with subprocess.Popen(
        [*words, "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    ) as process:
        for _ in range(20):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"drew b.mp4" in errors, errors
    assert 20 <= len(list(Video(tmp_path / "b.mp4").frames())) < 1000

"""Labels: a font that has the letters of the names, or a word about those that none has."""

import numpy as np
import pytest
from click.testing import CliRunner

from darkconv.cli import main
from darkconv.detection.detect import Detection
from darkconv.detection.draw import draw
from darkconv.errors import DarkconvError
from darkconv.pictures import lettering
from darkconv.pictures.lettering import label_font, missing_letters

ImageFont = pytest.importorskip("PIL.ImageFont")
CACHES = (lettering._system_font, lettering._font_files)
PICTURE = np.zeros((60, 120, 3), np.uint8)


@pytest.fixture(autouse=True)
def forgotten():
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """A system whose only fonts are those that matplotlib brings."""
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setattr(
        lettering, "_font_folders", lambda: [f"{matplotlib.get_data_path()}/fonts/ttf"]
    )
    return f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"


def labelled(name, **options):
    found = Detection(0, name, 0.5, (10.0, 30.0, 100.0, 55.0))
    return np.asarray(draw(PICTURE, [found], **options))


def test_ascii_is_drawn_in_the_usual_font(monkeypatch):
    monkeypatch.setattr(lettering, "_font_files", lambda: pytest.fail("looked for a font"))
    assert label_font(["person", "a\tb"], 15).getname() == ImageFont.load_default(15).getname()


def test_a_font_that_has_the_letters_is_taken(bundled):
    font = label_font(["машина"], 15)
    assert not missing_letters(font, "машина")
    assert not np.array_equal(labelled("машина"), labelled("шамани"))


def test_letters_that_no_font_has_are_told_once(bundled, caplog):
    with caplog.at_level("WARNING", logger="darkconv"):
        labelled("\U00012000\U00012001 once")
        labelled("\U00012000\U00012001 once")
    assert caplog.text.count("--font FILE") == 1


def test_a_font_of_the_user_is_taken(bundled):
    ours = labelled("person", font=bundled)
    assert not np.array_equal(ours, labelled("person"))


def test_a_file_that_is_no_font_is_refused(tmp_path):
    (tmp_path / "x.ttf").write_text("no font")
    with pytest.raises(DarkconvError, match=r"x.ttf: is no font that can be read"):
        labelled("person", font=tmp_path / "x.ttf")


def test_names_of_any_characters_can_be_drawn():
    for name in ("\udcff\x1b[1m", "a\nb", "\u202e", ""):
        assert labelled(name).any()


def test_a_font_without_pictures_to_draw_is_a_usage_error(bundled):
    result = CliRunner().invoke(main, ["detect", "a.cfg", "a.weights", "p.png", "--font", bundled])
    assert result.exit_code == 2
    assert "-o and --show draw" in result.output


def test_plots_take_a_font_that_has_the_letters(bundled, monkeypatch, tmp_path):
    import warnings

    from darkconv.evaluation.confusion import Confusion
    from darkconv.evaluation.plots import draw_confusion
    from darkconv.report.figure import write_figure

    monkeypatch.setattr(lettering, "_system_font", lambda letters: (bundled, ""))
    for names in (("машина", "a"), ("\udcff\x1b", "$x_"), ("\U00012000", "b")):
        counts = np.ones((3, 3), np.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = draw_confusion(Confusion(names, counts, 0.25, 0.5))
            write_figure(figure, tmp_path / "c.png")
    family = figure.axes[0].get_xticklabels()[0].get_fontfamily()
    assert family[-1] == "DejaVu Sans"
    assert len(family) == 2

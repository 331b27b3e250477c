"""Options: C's way of reading numbers, defaults by dialect, notes on what is odd."""

import re

import pytest

from darkconv.core.foreign import FOREIGN_SECTIONS
from darkconv.core.options import Notes
from darkconv.core.spec import LAYER_TYPES
from darkconv.darknet.cfg import format_cfg
from darkconv.errors import OptionError, UnknownSectionError
from networks import network


def spec_of(body, dialect="alexeyab", shape=(4, 8, 8)):
    return network(body, shape, dialect).layers[-1].spec


def warnings_of(caplog, body, dialect="alexeyab"):
    with caplog.at_level("WARNING", logger="darkconv"):
        network(body, dialect=dialect)
    return [record.getMessage() for record in caplog.records]


def test_number_before_a_comment_counts_without_a_warning(caplog):
    assert spec_of("[convolutional]\nfilters=12#96\n").filters == 12
    assert not warnings_of(caplog, "[convolutional]\nfilters=12#96\n")


def test_text_behind_a_number_is_ignored_with_a_warning(caplog):
    (message,) = warnings_of(caplog, "[convolutional]\nsize=3x3\n")
    assert message == "test.cfg:7: layer 0 [convolutional] size: '3x3' is read as 3"


def test_fraction_of_a_whole_number_is_cut():
    assert spec_of("[convolutional]\nfilters=1.9\n").filters == 1


def test_list_ends_at_a_comment():
    body = "[maxpool]\n" * 3 + "[route]\nlayers = -1, 0 ### P6\n"
    assert spec_of(body).layers == (-1, 0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("filters=many", "a whole number"),
        ("filters=99999999999", "a number that C can hold"),
        ("filters=0", "1 or more"),
        ("antialiasing=3", "0 to 2"),
    ],
)
def test_impossible_value_is_refused(line, expected):
    with pytest.raises(OptionError) as caught:
        spec_of(f"[convolutional]\n{line}\n")
    key, _, value = line.partition("=")
    assert caught.value.expected == expected
    assert caught.value.found == value
    where = caught.value.where
    assert (where.file, where.line, where.layer, where.option) == ("test.cfg", 7, 0, key)


def test_missing_option_is_named():
    with pytest.raises(OptionError, match=r"layer 1 \[route\] layers: is missing"):
        network("[maxpool]\n[route]\n")


def test_unknown_option_is_told_once_with_the_nearest_name(caplog):
    body = "[convolutional]\nbatch_normalise=1\n" * 3
    (message,) = warnings_of(caplog, body)
    assert message.endswith(
        "batch_normalise: unknown option, ignored; did you mean batch_normalize? "
        "(and 2 more like it)"
    )


def test_other_dialects_option_is_told(caplog):
    (message,) = warnings_of(caplog, "[convolutional]\ndilation=2\n", "pjreddie")
    assert message.endswith("dilation: not read in the pjreddie dialect, ignored")


def test_training_options_of_the_other_dialect_are_no_matter(caplog):
    assert not warnings_of(caplog, "[convolutional]\nclip=1\n", "pjreddie")


def test_unknown_activation_is_relu(caplog):
    (message,) = warnings_of(caplog, "[convolutional]\nactivation=leeky\n")
    assert message.endswith("unknown name 'leeky' is relu, as in C; did you mean leaky?")
    assert spec_of("[convolutional]\nactivation=leeky\n").activation == "relu"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("silu", "swish"),
        ("SiLU", "swish"),
        ("sigmoid", "logistic"),
        ("none", "linear"),
        ("identity", "linear"),
        ("lrelu", "leaky"),
        ("hardtanh", "hardtan"),
    ],
)
def test_names_of_other_programs_are_read_with_a_note(name, meant, caplog):
    body = f"[convolutional]\nactivation={name}\n"
    (message,) = warnings_of(caplog, body)
    assert message == f"test.cfg:7: layer 0 [convolutional] activation: {name} is read as {meant}"
    assert spec_of(body).activation == meant


def test_synonyms_follow_the_dialect(caplog):
    (message,) = warnings_of(caplog, "[convolutional]\nactivation=silu\n", "pjreddie")
    assert message.endswith("silu is read as swish; swish is relu in the pjreddie dialect")


@pytest.mark.parametrize("name", ["hardswish", "PReLU", "hsigmoid"])
def test_functions_that_no_darknet_has_are_not_taken_for_others(name, caplog):
    (message,) = warnings_of(caplog, f"[convolutional]\nactivation={name}\n")
    assert message.endswith(f"unknown name '{name}' is relu, as in C; no Darknet has it")


def test_alexeyabs_activations_are_relu_for_pjreddie(caplog):
    (message,) = warnings_of(caplog, "[convolutional]\nactivation=mish\n", "pjreddie")
    assert message.endswith("mish is relu in the pjreddie dialect")


def test_defaults_follow_other_options():
    pool = spec_of("[maxpool]\nstride=2\n")
    assert (pool.size, pool.padding, pool.strides) == (2, 1, (2, 2))
    assert spec_of("[maxpool]\nstride=2\nsize=3\nstride_x=1\n").strides == (2, 1)


def test_defaults_differ_by_dialect():
    assert spec_of("[dropout]\n", "pjreddie").probability == 0.5
    assert spec_of("[dropout]\n", "alexeyab").probability == 0.2


def test_empty_value_counts_as_absent(caplog):
    assert spec_of("[convolutional]\npad=\n").pad is False
    assert "has no value" in warnings_of(caplog, "[convolutional]\npad=\n")[0]


def test_notes_are_collected_when_asked_for():
    notes = Notes()
    network("[maxpool]\nnothing=1\n", notes=notes)
    assert notes.found() == ["test.cfg:7: layer 0 [maxpool] nothing: unknown option, ignored"]


def test_unknown_section_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownSectionError) as caught:
        network("[convolution]\n")
    assert str(caught.value) == (
        "test.cfg:6: layer 0 [convolution]: expected a Darknet layer type, found [convolution]\n"
        "  hint: did you mean [convolutional]?"
    )


@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ("depthwise_convolutional", "[convolutional] with groups= and filters="),
        ("global_avgpool", "[avgpool]"),
        ("GlobalAvgPool", "[avgpool]"),
        ("concat", "[route] with layers="),
        ("add", "[shortcut] with from="),
        ("fc", "[connected] with output="),
        ("batch_norm", "[batchnorm]"),
        ("se", "[scale_channels]"),
        ("yolov4", "[yolo]"),
        ("space-to-depth", "[reorg3d]"),
        ("implicit_cat", "which no Darknet has"),
    ],
)
def test_section_of_another_program_has_its_hint(section, hint):
    with pytest.raises(UnknownSectionError) as caught:
        network(f"[{section}]\n")
    assert hint in caught.value.hint


def test_hints_name_sections_that_there_are():
    for section, hint in FOREIGN_SECTIONS.items():
        assert section == section.lower().replace("-", "_")
        assert section not in LAYER_TYPES
        assert set(re.findall(r"\[(.*?)\]", hint)) <= set(LAYER_TYPES)


def test_section_that_means_the_same_is_read_and_stays_in_the_text(caplog):
    body = "[convolutional]\nfilters=75\n[yolo4]\nnum=3\n"
    (message,) = warnings_of(caplog, body)
    assert message.endswith("[yolo4]: is read as [yolo]: no Darknet has a section of this name")
    net = network(body, notes=Notes())
    assert net.layers[1].type == "yolo"
    assert "[yolo4]\n" in format_cfg(net.config)


@pytest.mark.parametrize(
    ("section", "option", "name", "meant"),
    [
        ("yolo", "nms_kind", "cornersnms", "default"),
        ("yolo", "nms_kind", "soft", "default"),
        ("Gaussian_yolo", "nms_kind", "soft", "default"),
        ("Gaussian_yolo", "yolo_point", "right_top", "center"),
        ("yolo", "iou_loss", "siou", "iou"),
        ("yolo", "iou_thresh_kind", "mse", "iou"),
    ],
)
def test_names_that_c_does_not_know_are_what_c_takes_them_for(section, option, name, meant, caplog):
    count = 25 if section == "yolo" else 29
    body = f"[convolutional]\nfilters={count}\n[{section}]\n{option}={name}\n"
    (message,) = warnings_of(caplog, body)
    assert f"{option}: unknown name '{name}' is {meant}, as in C" in message
    assert getattr(spec_of(body), option) == meant


def test_text_behind_a_section_header_is_explained():
    with pytest.raises(UnknownSectionError, match="nothing may follow the ]"):
        network("[yolo] # head\n")


def test_section_of_the_other_dialect_is_refused():
    with pytest.raises(UnknownSectionError, match="exists only in the pjreddie dialect"):
        network("[l2norm]\n")

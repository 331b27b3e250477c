"""Every option of every section, with values that C cannot mean.

One that only training reads never stops a conversion; one that inference reads is refused with its
place, or read as C reads it.
"""

import math

import numpy as np
import pytest

import darkconv as dc
from darkconv.core.dialect import ALEXEYAB, DIALECTS, PJREDDIE
from darkconv.core.net import NetOptions
from darkconv.core.network import build_network, check_training_options
from darkconv.core.options import Notes, TrainingNotes, option_table
from darkconv.core.section import Line
from darkconv.core.spec import LAYER_TYPES, only_dialect
from darkconv.darknet.cfg import format_cfg, parse_cfg
from darkconv.errors import DarkconvError, OptionError, Where
from networks import MICRO, cfg_text, initial_model, network

JUNK = (
    *("N", "auto", "$hue", ".1,,10.0", ",", "1000,", "half", "true", "%", "x,y", "=", "-"),
    *("1000000000000", "-99999999999999999999", "9" * 5000, "1e12", "1e400", "-1e39", "0x1p9999"),
    *("nan", "-inf", "infinity", "NaN,1", "-1", "0", "2", "1;2", "1.5.2", "é", "\0"),
)
INFERENCE = {
    "net": "height width channels inputs letter_box",
    "convolutional": "filters size stride stride_x stride_y pad padding activation "
    "batch_normalize groups flipped binary xnor dilation antialiasing share_index cbn bin_output",
    "deconvolutional": "filters size stride stride_x stride_y pad padding activation "
    "batch_normalize",
    "local": "filters size stride pad activation",
    "connected": "output activation batch_normalize",
    "maxpool": "stride stride_x stride_y size padding maxpool_depth out_channels antialiasing",
    "local_avgpool": "stride stride_x stride_y size padding",
    "upsample": "stride scale",
    "reorg": "stride reverse flatten extra",
    "reorg3d": "stride reverse",
    "route": "layers groups group_id",
    "shortcut": "from activation alpha beta weights_type weights_normalization",
    "sam": "from activation",
    "scale_channels": "from activation scale_wh",
    "implicit": "filters atoms",
    "implicit_add": "filters",
    "implicit_mul": "filters",
    "shift_channels": "from",
    "control_channels": "from",
    "normalization": "size alpha beta kappa",
    "activation": "activation",
    "softmax": "groups temperature tree spatial keep_classes",
    "crop": "crop_height crop_width noadjust",
    "history": "history_size",
    "rnn": "output activation batch_normalize shortcut hidden logistic",
    "gru": "output batch_normalize tanh",
    "lstm": "output batch_normalize",
    "crnn": "output hidden output_filters hidden_filters size stride dilation pad padding groups "
    "xnor activation batch_normalize shortcut",
    "conv_lstm": "output size stride dilation pad padding groups xnor activation batch_normalize "
    "shortcut peephole bottleneck state_constrain lstm_activation",
    "yolo": "classes num mask anchors scale_x_y beta_nms new_coords nms_kind",
    "Gaussian_yolo": "classes num mask anchors scale_x_y beta_nms nms_kind yolo_point",
    "region": "classes num anchors coords softmax background tree map classfix keep_classes",
    "detection": "classes coords num side softmax sqrt",
    "iseg": "classes ids",
}
"""The options that inference reads in one program or both; `LOADING` in every layer."""
LOADING = {"dontload", "dontloadscales", "numload"}

SPECS = {"net": NetOptions, **{spec.type: spec for spec in LAYER_TYPES.values()}}
READ = [
    (section, dialect)
    for section in SPECS
    for dialect in DIALECTS.values()
    if only_dialect(section) is None or dialect.follows(only_dialect(section))
]


def keys(section, dialect=None, *, training):
    """The options of a section that only training reads, or the others."""
    return [
        key
        for key, (_, _, info) in option_table(SPECS[section]).items()
        if info.training == training
        and (dialect is None or info.only is None or dialect.follows(info.only))
    ]


def junk(section, dialect, *, training):
    """Every option of a section with every value."""
    return [(key, value) for key in keys(section, dialect, training=training) for value in JUNK]


def read(section, key, dialect, value, notes):
    """One option of a section, with all that the section has to have."""
    table = option_table(SPECS[section])
    required = {
        k: "-1" if info.minimum is None else "1"
        for k, (_, _, info) in table.items()
        if info.required
    }
    lines = {k: Line(f"{k}={number}", 1, k, number) for k, number in required.items()}
    lines[key] = Line(f"{key}={value}", 2, key, value)
    spec = SPECS[section].read(lines, dialect, Where(file="net.cfg", line=7), notes)
    return getattr(spec, table[key][0])


@pytest.mark.parametrize("section", SPECS)
def test_options_that_inference_reads_are_those_of_the_c_programs(section):
    common = set() if section == "net" else LOADING
    assert set(keys(section, training=False)) == common | set(INFERENCE.get(section, "").split())


@pytest.mark.parametrize(("section", "dialect"), READ, ids=str)
def test_value_that_only_training_reads_is_never_an_error(section, dialect):
    for key, value in junk(section, dialect, training=True):
        is_text = option_table(SPECS[section])[key][1] is str
        notes = Notes()
        found = read(section, key, dialect, value, notes)
        for text in notes.found():
            assert text.startswith(f"net.cfg:9: {key}: ")
            assert text.isprintable()
        assert notes.count or is_text or is_plain(value, found), (key, value)


def is_plain(value, found):
    """Whether a value is a number that C reads as it stands."""
    items = found if isinstance(found, tuple) else (found,)
    return all(math.isfinite(item) for item in items) and set(value) <= set("-0123456789.e")


@pytest.mark.parametrize(("section", "dialect"), READ, ids=str)
def test_training_that_obeys_the_cfg_refuses_what_is_warned_about(section, dialect):
    for key, value in junk(section, dialect, training=True):
        notes = Notes()
        read(section, key, dialect, value, notes)
        is_excused = any("only training reads it" in text for text in notes.found())
        if is_excused:
            with pytest.raises(OptionError) as caught:
                read(section, key, dialect, value, TrainingNotes(obeys=True))
            assert caught.value.where == Where(file="net.cfg", line=9, option=key)
        else:
            read(section, key, dialect, value, TrainingNotes(obeys=True))


@pytest.mark.parametrize(("section", "dialect"), READ, ids=str)
def test_value_that_inference_reads_is_refused_with_its_place_or_read_as_in_c(section, dialect):
    for key, value in junk(section, dialect, training=False):
        outcome = read_or_error(section, key, dialect, value)
        if isinstance(outcome, DarkconvError):
            assert (outcome.where.line, outcome.where.option) == (9, key)
            assert outcome.found in (value, *value.split(","), "nothing")
        else:
            items = outcome if isinstance(outcome, tuple) else (outcome,)
            assert all(isinstance(item, str) or math.isfinite(item) for item in items), key


def read_or_error(section, key, dialect, value):
    try:
        return read(section, key, dialect, value, Notes())
    except DarkconvError as error:
        return error


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("max_batches", "N", 0),
        ("max_batches", "1e12", 1),
        ("max_batches", "1000000000000", -727379968),
        ("max_batches", "2147483648", -2147483648),
        ("max_batches", "-2147483648", -2147483648),
        ("max_batches", "9" * 5000, -1),
        ("max_batches", "-" + "9" * 30, 0),
        ("max_batches", "0" * 5000 + "7", 7),
        ("momentum", "half", 0),
        ("momentum", ".5x", 0.5),
        ("momentum", "nan", math.nan),
        ("momentum", "-Infinity", -math.inf),
        ("momentum", "1e39", math.inf),
        ("momentum", "0x1.8p1", 3),
        ("steps", "1000,", (1000, 0)),
        ("steps", "auto", (0,)),
        ("scales", ".1,,10.0", (0.1, 0, 10)),
        ("policy", "stepps", "constant"),
    ],
)
def test_numbers_are_those_of_atoi_and_atof(key, text, value):
    found = read("net", key, ALEXEYAB, text, Notes())
    assert found == value or (found != found and value != value)


def test_policy_of_the_other_program_is_constant():
    assert read("net", "policy", PJREDDIE, "sgdr", Notes()) == "constant"
    assert read("net", "policy", ALEXEYAB, "sgdr", Notes()) == "sgdr"


@pytest.mark.parametrize("value", ["N", "1000000000000", "nan", ".1,,10.0", "-3"])
@pytest.mark.parametrize("folder", MICRO[::9], ids=lambda folder: folder.name)
def test_conversion_goes_on_and_keeps_the_text(folder, value, tmp_path, caplog):
    """Junk in every training option of every section at once."""
    plain = dc.load(folder / "net.cfg", folder / "net.weights", dialect=dialect_of(folder))
    text = with_junk(plain.network, value)
    (tmp_path / "net.cfg").write_text(text)
    name = plain.dialect.name
    model = dc.load(tmp_path / "net.cfg", folder / "net.weights", dialect=name)
    assert "only training reads it" in caplog.text
    assert model.network.shapes == plain.network.shapes
    assert all((model.arrays[key] == array).all() for key, array in plain.arrays.items())
    dc.save(model, tmp_path / "out.cfg", tmp_path / "out.weights")
    assert (tmp_path / "out.cfg").read_text() == text
    assert (tmp_path / "out.weights").read_bytes() == (folder / "net.weights").read_bytes()
    with pytest.raises(OptionError, match=r"net.cfg:\d+: \[net\] \w+: expected "):
        check_training_options(model.network, obeys=True)


def dialect_of(folder):
    return folder.name.partition("-")[0]


def with_junk(net, value):
    """The cfg of a network with a line more for each training option that a section lacks."""
    lines = [net.config.lead]
    kinds = [NetOptions, *(type(layer.spec) for layer in net.layers)]
    for section, kind in zip(net.config.sections, kinds, strict=True):
        given = section.options()
        lines += [section.header.raw, *(line.raw for line in section.lines), "\n"]
        lines += [
            f"{key}={value}\n"
            for key, (_, _, info) in option_table(kind).items()
            if info.training and key not in given
        ]
    return "".join(lines)


@pytest.mark.parametrize("value", ["2", "-1", "nan", "half"])
def test_share_that_dropout_drops_may_be_any(value):
    pytest.importorskip("torch")
    x = np.ones((3, 8, 8), np.float32)
    (found,) = dc.trace(initial_model(network(f"[dropout]\nprobability={value}\n")), x)
    assert (found == x).all()


@pytest.mark.parametrize("line", ["momentum=nan", "hue=-inf", "decay=1e400"])
def test_no_training_goes_on_with_what_is_not_finite(line):
    text = cfg_text("[convolutional]\n").replace("channels=3\n", f"channels=3\n{line}\n")
    net = build_network(parse_cfg(text, file="net.cfg"), ALEXEYAB, notes=Notes())
    key, _, value = line.partition("=")
    with pytest.raises(OptionError, match=rf"net.cfg:5: \[net\] {key}: .*found {value}"):
        check_training_options(net, obeys=False)


@pytest.mark.parametrize("line", ["momentum=half", "max_batches=1000000000000", "steps=1000,"])
def test_training_by_another_schedule_goes_on(line):
    text = cfg_text("[convolutional]\n").replace("channels=3\n", f"channels=3\n{line}\n")
    net = build_network(parse_cfg(text, file="net.cfg"), ALEXEYAB, notes=Notes())
    check_training_options(net, obeys=False)
    with pytest.raises(OptionError):
        check_training_options(net, obeys=True)


@pytest.mark.parametrize("name", ["cfg", "sgd", "adam", "adamw"])
def test_settings_that_an_optimizer_cannot_take_are_named(name):
    pytest.importorskip("torch")
    from darkconv.backends import to_torch
    from darkconv.training.optimizer import OptimizerChoice

    text = cfg_text("[convolutional]\n").replace("channels=3\n", "channels=3\nmomentum=-1\n")
    net = build_network(parse_cfg(text, file="net.cfg"), ALEXEYAB, notes=Notes())
    module = to_torch(initial_model(net)).train()
    with pytest.raises(DarkconvError, match=f"optimizer {name}: Invalid"):
        OptimizerChoice(name).build(module, net.options, 1)
    with pytest.raises(DarkconvError, match="momentum: expected 0 to below 1, found -1"):
        OptimizerChoice(name, momentum=-1.0)


def test_training_by_the_cfg_names_the_line_before_anything_runs(tmp_path):
    pytest.importorskip("lightning")
    from darkconv.training.recipe import Recipe, plan_course

    text = cfg_text("[convolutional]\nfilters=4\n").replace("channels=3\n", "channels=3\nsteps=a\n")
    net = build_network(parse_cfg(text, file="net.cfg"), ALEXEYAB, notes=Notes())
    assert format_cfg(net.config) == text
    assert plan_course(Recipe(steps=3), net, samples=16, processes=1).steps == 3
    with pytest.raises(OptionError) as caught:
        plan_course(Recipe(steps=3, schedule="cfg"), net, samples=16, processes=1)
    assert str(caught.value) == "net.cfg:5: [net] steps: expected a whole number, found a"

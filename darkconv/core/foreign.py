"""Section types of other programs, each with a hint on what a Darknet cfg uses instead."""


def _is(*names: str, hint: str) -> dict[str, str]:
    return dict.fromkeys(names, hint)


_DEPTHWISE = (
    "in Darknet it is [convolutional] with groups= and filters= the number of channels that come in"
)

FOREIGN_SECTIONS = {
    **_is("depthwise_convolutional", "depthwise_conv", "depthwise", "dwconv", hint=_DEPTHWISE),
    **_is(
        *("separable_convolutional", "separable", "depthwise_separable"),
        hint="in Darknet it is two [convolutional]: one with groups= the number of channels, then "
        "one of size=1",
    ),
    **_is(
        *("group_convolutional", "grouped_convolutional", "groupconv"),
        hint="in Darknet it is [convolutional] with groups=",
    ),
    **_is(
        *("mix_convolutional", "mixconv"),
        hint="in Darknet it is a [route] with groups= for each slice of the channels, a "
        "[convolutional] behind each, and a [route] that joins them",
    ),
    **_is(
        "dilated_convolutional", "atrous", hint="in Darknet it is [convolutional] with dilation="
    ),
    **_is(
        "conv2d", "convolution2d", "conv_bn", "convolve", hint="in Darknet it is [convolutional]"
    ),
    **_is(
        *(
            "transposed_convolutional",
            "conv_transpose",
            "convtranspose",
            "deconvolution",
            "deconv2d",
        ),
        hint="in Darknet it is [deconvolutional], of the pjreddie dialect alone",
    ),
    **_is(
        *("global_avgpool", "globalavgpool", "global_average_pooling", "gap", "average_pooling"),
        *("avg_pool", "avgpooling", "adaptive_avgpool"),
        hint="in Darknet it is [avgpool], the mean of each channel",
    ),
    **_is(
        *("pool", "pooling", "max_pool", "maxpooling", "max_pooling", "maxpool2d"),
        hint="in Darknet it is [maxpool]",
    ),
    **_is(
        "avgpool2d", "averagepool", hint="in Darknet it is [local_avgpool] with size= and stride="
    ),
    **_is("spp", "sppf", hint="in Darknet it is three [maxpool] of stride=1 and a [route]"),
    **_is("concat", "concatenate", "cat", "join", hint="in Darknet it is [route] with layers="),
    **_is("route_lhalf", hint="in Darknet it is [route] with groups=2 and group_id=0"),
    **_is("split", "slice", "chunk", hint="in Darknet it is [route] with groups= and group_id="),
    **_is(
        *("add", "residual", "sum", "eltwise", "elementwise", "skip", "weighted_shortcut"),
        hint="in Darknet it is [shortcut] with from=",
    ),
    **_is(
        *("multiply", "mul", "eltmul", "attention"),
        hint="in Darknet it is [sam] for maps of the same shape, [scale_channels] for a factor "
        "of each channel",
    ),
    **_is(
        *("se", "squeeze_excitation", "squeezeexcitation", "se_block"),
        hint="in Darknet it is [avgpool], two [convolutional] of size=1 and [scale_channels]",
    ),
    **_is(
        *("fc", "dense", "linear", "fullyconnected", "fully_connected", "inner_product"),
        hint="in Darknet it is [connected] with output=",
    ),
    **_is("bn", "batch_norm", "batch_normalization", hint="in Darknet it is [batchnorm]"),
    **_is(
        *("upsampling", "upsample2d", "resize", "interpolate", "interp", "unpool"),
        hint="in Darknet it is [upsample] with stride=",
    ),
    **_is(
        *("space_to_depth", "spacetodepth", "focus", "passthrough", "pixel_unshuffle"),
        hint="in Darknet it is [reorg3d]; YOLOv2's is [reorg], which counts otherwise",
    ),
    **_is(
        *("relu", "leaky", "leakyrelu", "mish", "swish", "silu", "tanh", "sigmoid", "elu", "act"),
        hint="in Darknet it is [activation] with activation=",
    ),
    **_is("identity", "noop", "pass", hint="in Darknet it is [empty], of the alexeyab dialect"),
    **_is(
        *("yolov2", "yolo2", "region_layer"),
        hint="in Darknet it is [region]",
    ),
    **_is(
        *("yolov3", "yolov4", "yolo3", "yololayer", "yolo_layer", "detect", "yolo_head"),
        hint="in Darknet it is [yolo]",
    ),
    **_is("gaussian", "gaussianyolo", hint="in Darknet it is [Gaussian_yolo]"),
    **_is("yolov1", "yolo1", hint="in Darknet it is [detection]"),
    **_is(
        *("implicit_cat", "alternate_channels", "select_channels", "dwt", "jde"),
        *("implicit_add_2d", "implicit_mul_2d", "implicit_cat_2d", "select_channels_2d"),
        *("shift_channels_2d", "control_channels_2d", "alternate_channels_2d"),
        hint="a layer of a PyTorch program that reads cfgs, which no Darknet has",
    ),
}
"""The hints by section name; names are in lower case, with `_` in place of `-`."""

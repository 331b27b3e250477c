"""Files in the namings of other tools, made of models whose numbers are known."""

import numpy as np

YOLO = """
[convolutional]
filters=21
size=1
activation=linear

[yolo]
mask=0,1,2
anchors=1,2, 3,4, 5,6
classes=2
num=3
"""
"""A head and what it reads, for the end of small networks."""


def layer_arrays(model):
    """(layer, its arrays by Darknet's names) of all layers that have some."""
    for layer in model.network.layers:
        if layer.slots:
            yield (
                layer,
                {
                    slot.name: np.array(model.arrays[f"{layer.index}.{slot.name}"])
                    for slot in layer.slots
                },
            )


def torch_arrays(own, weight, norm):
    """A layer's arrays under PyTorch's names behind the names of its two modules."""
    named = {f"{weight}.weight": own["weights"]} if "weights" in own else {}
    if "rolling_variance" not in own:
        return named | ({f"{weight}.bias": own["biases"]} if "biases" in own else {})
    return {
        **named,
        f"{norm}.weight": own["scales"],
        f"{norm}.bias": own.get("biases", np.zeros_like(own["scales"])),
        f"{norm}.running_mean": own["rolling_mean"],
        f"{norm}.running_var": own["rolling_variance"],
        f"{norm}.num_batches_tracked": np.int64(7),
    }


def pytorchyolo(model):
    """PyTorch-YOLOv3."""
    state = {}
    for layer, own in layer_arrays(model):
        i = layer.index
        path = f"module_list.{i}"
        state |= torch_arrays(own, f"{path}.conv_{i}", f"{path}.batch_norm_{i}")
    return state


def ultralytics(model):
    """ultralytics/yolov3 of the archive, PyTorch_YOLOv4, yolor."""
    state = {}
    for layer, own in layer_arrays(model):
        path = f"module_list.{layer.index}"
        norm = path if layer.type == "batchnorm" else f"{path}.BatchNorm2d"
        state |= torch_arrays(own, f"{path}.Conv2d", norm)
    return state


def marvis(model):
    """pytorch-0.4-yolov3, the cfg-built models of pytorch-YOLOv4, darknet2any."""
    state, count = {}, 0
    for layer, own in layer_arrays(model):
        count += layer.type == "convolutional"
        path = f"models.{layer.index}"
        if layer.type == "convolutional":
            state |= torch_arrays(own, f"{path}.conv{count}", f"{path}.bn{count}")
        else:
            state |= torch_arrays(own, path, path)
    return state


def libreyolo(model, family="yolo3"):
    """libreyolo's Darknet models."""
    state = {}
    for layer, own in layer_arrays(model):
        path = f"{family}.layers.{layer.index}"
        word = {"connected": "linear"}.get(layer.type, "conv")
        if layer.type == "local":
            places, filters = own["weights"].shape[:2]
            state[f"{path}.weight"] = own["weights"].reshape(places, filters, -1)
            state[f"{path}.bias"] = own["biases"].reshape(filters, places)
        else:
            state |= torch_arrays(own, f"{path}.{word}", f"{path}.bn")
    return state


def written(model):
    """A program written by hand, whose names say nothing; its arrays are in order."""
    state = {}
    for layer, own in layer_arrays(model):
        path = f"part{'abcdef'[layer.index * 7 % 6]}{layer.index % 5}.block{layer.index}"
        state |= torch_arrays(own, f"{path}.conv.0", f"{path}.conv.1")
    return state


TORCH = {
    "PyTorch-YOLOv3": pytorchyolo,
    "ultralytics": ultralytics,
    "pytorch-YOLOv4": marvis,
    "libreyolo": libreyolo,
    "by hand": written,
}


def assert_same(found, expected):
    """Every array is equal bit for bit."""
    assert list(found.arrays) == list(expected.arrays)
    for key, array in expected.arrays.items():
        assert found.arrays[key].tobytes() == array.tobytes(), key


def write_cfg(model, path):
    """Write the cfg of a model, and return its path."""
    from darkconv.darknet.cfg import cfg_bytes

    path.write_bytes(cfg_bytes(model.network.config))
    return path


# --- Keras


def is_depthwise(layer):
    """Whether a convolution has a kernel for each channel."""
    return layer.type == "convolutional" and layer.spec.groups == layer.in_shapes[0].c > 1


def keras_words(layer, own):
    """A layer's arrays by Keras's words, of the convolution and of its batch norm."""
    kernel = {}
    if "weights" in own:
        if own["weights"].ndim == 2:
            x = layer.in_shapes[0]
            spread = own["weights"].reshape(-1, x.c, x.h, x.w)
            kernel = {"kernel": spread.transpose(2, 3, 1, 0).reshape(x.size, -1)}
        elif is_depthwise(layer):
            kernel = {"depthwise_kernel": own["weights"].transpose(2, 3, 0, 1)}
        else:
            kernel = {"kernel": own["weights"].transpose(2, 3, 1, 0)}
    if "rolling_variance" not in own:
        return {**kernel, "bias": own["biases"]}, {}
    return kernel, {
        "gamma": own["scales"],
        "beta": own.get("biases", np.zeros_like(own["scales"])),
        "moving_mean": own["rolling_mean"],
        "moving_variance": own["rolling_variance"],
    }


def keras_layers(model, conv="conv2d", norm="batch_normalization", first=1, head=None):
    """Layers as a Keras program makes them: name -> arrays by word; tf.keras counts from ""."""
    counts, layers = {}, {}

    def name(stem):
        number = counts.get(stem, first)
        counts[stem] = number + 1
        return f"{stem}_{number}" if number else stem

    for layer, own in layer_arrays(model):
        kernel, norms = keras_words(layer, own)
        if kernel:
            stem = "dense" if layer.type == "connected" else conv
            stem = f"depthwise_{stem}" if is_depthwise(layer) else stem
            plain = head if head and not norms else stem
            layers[name(plain)] = kernel
        if norms:
            layers[name(norm)] = norms
    return layers


def write_old_h5(layers, path, order=None, config=None, nested=None, root="model_weights"):
    """An .h5 of Keras 1 or 2: of weights alone, or of a whole model where there is a config."""
    import h5py

    names = list(order or layers)
    with h5py.File(path, "w") as file:
        top = file
        if config is not None:
            file.attrs["model_config"] = config
            top = file.create_group(root)
        groups = {nested: names} if nested else {name: [name] for name in names}
        top.attrs["layer_names"] = [group.encode() for group in groups]
        for group, members in groups.items():
            made = top.create_group(group)
            words = [(name, word) for name in members for word in layers[name]]
            made.attrs["weight_names"] = [f"{name}/{word}:0".encode() for name, word in words]
            for name, word in words:
                made.create_dataset(f"{name}/{word}:0", data=layers[name][word])


def write_new_h5(layers, path, names=True):
    """A .weights.h5 of Keras 3."""
    import h5py

    counts = {}
    with h5py.File(path, "w") as file:
        for name, arrays in layers.items():
            kind = "batch_normalization" if "gamma" in arrays else "conv2d"
            kind = "depthwise_conv2d" if "depthwise_kernel" in arrays else kind
            kind = "dense" if np.ndim(arrays.get("kernel")) == 2 else kind
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            group = file.create_group(
                f"layers/{kind}_{number}/vars" if number else f"layers/{kind}/vars"
            )
            if names:
                group.attrs["name"] = name
            for i, array in enumerate(arrays.values()):
                group.create_dataset(str(i), data=array)


KERAS = {
    "keras-yolo3": keras_layers,
    "tensorflow-yolov4-tflite": lambda model: keras_layers(model, first=0),
    "keras-yolo2": lambda model: keras_layers(model, "conv", "norm"),
    "keras-YOLOv3-model-set": lambda model: keras_layers(model, head="predict_conv"),
    "YAD2K": lambda model: keras_layers(model, "convolution2d", "batchnormalization"),
}


# --- lightnet


def lightnet(model, parts):
    """A model of lightnet: its modules in the order of the program, whose layers `parts` name."""
    named = {layer.index: own for layer, own in layer_arrays(model)}
    state = {}
    for path, index in parts:
        own = named[index]
        if "rolling_variance" in own:
            state |= torch_arrays(own, f"{path}.layers.0", f"{path}.layers.1")
        else:
            state |= torch_arrays(own, path, path)
    return state | {"_LN_MODEL_VERSION": np.int64(1)}


# --- TensorFlow


def write_checkpoint(layers, folder, prefix="net.tf"):
    """A checkpoint as TensorFlow 2 writes it, whose variables have Keras's names."""
    import tensorflow as tf

    held = tf.Module()
    held.parts = [
        tf.Variable(array, name=f"{name}/{word}")
        for name, arrays in layers.items()
        for word, array in arrays.items()
    ]
    tf.train.Checkpoint(model=held).write(str(folder / prefix))
    return folder / prefix

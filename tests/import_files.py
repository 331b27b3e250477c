"""Files in the namings of other tools, made of models whose numbers are known."""

import numpy as np


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
        return {**named, f"{weight}.bias": own["biases"]}
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

"""8-bit ONNX files beside float32: agreement, AP and time, on pictures they were not chosen by.

    python tools/bench/eight_bits.py --models ../shared/models --data ../shared/data/coco128 \
        [NAME ...]

Every second picture chooses the 8-bit numbers, the others measure. For each model there are four
rows: float32, onnxruntime's own static quantisation after its own pre-processing, darkconv's with
`min_agreement` 0 and with the default. Files take turns when they are timed, so that what else the
machine does meets them alike; on a busy machine only the ratios say something.
"""

import argparse
import contextlib
import io
import logging
import tempfile
from pathlib import Path

import onnx

import darkconv as dc
from darkconv.dataset.sample import Dataset
from darkconv.exporting.eight_bits import agreement_of
from darkconv.loading import open_exported
from darkconv.verification.precision import GraphInputs, average_precision, likeness, time_of

NAMES = (
    "yolov3-tiny",
    "mobilenetv2-yolov3-nano-voc",
    "mobilenetv2-yolov3-nano-coco",
    "mobilenetv2-yolo-fastest-voc-v2",
    "yolo-fastest-1.0-coco",
    "yolo-fastest-1.0-xl-coco",
    "yolo-fastest-1.1-coco",
)


class Reader:
    """A calibration data reader of onnxruntime."""

    def __init__(self, inputs):
        self._inputs = iter(inputs[place] for place in range(len(inputs)))

    def get_next(self):
        """Return the next, None behind the last."""
        x = next(self._inputs, None)
        return None if x is None else {"input": x}


def theirs(whole, inputs, path, folder):
    """Write what onnxruntime's own tools make of a float32 file."""
    from onnxruntime import quantization as tools

    ready = str(folder / "ready.onnx")
    heads = [layer.label for layer in whole.network.heads]
    nodes = [
        node.name
        for node in onnx.load(whole.path).graph.node
        if node.name.partition("/")[0] in heads
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        tools.quant_pre_process(whole.path, ready, skip_symbolic_shape=True)
        tools.quantize_static(
            ready,
            str(path),
            Reader(inputs),
            quant_format=tools.QuantFormat.QDQ,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            nodes_to_exclude=nodes,
        )
    small = onnx.load(str(path))
    metadata = {one.key: one.value for one in onnx.load(whole.path).metadata_props}
    onnx.helper.set_model_props(small, metadata | {"precision": "int8"})
    onnx.save(small, str(path))


def every_second(dataset, first):
    """Return a data set of every second picture."""
    return Dataset(tuple(dataset.samples[first::2]), dataset.names, dataset.source)


def measure(name, models, data, limit):
    """Print the rows of one model."""
    base = models / name / name
    model = dc.load(f"{base}.cfg", f"{base}.weights")
    dataset = dc.open_dataset(data)
    chosen, measured = (every_second(dataset, first) for first in (0, 1))
    if limit:
        chosen, measured = (
            Dataset(tuple(one.samples[:limit]), one.names, one.source) for one in (chosen, measured)
        )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        dc.export(model, folder / "float32.onnx")
        whole = open_exported(folder / "float32.onnx")
        inputs = GraphInputs(whole, [one.image for one in chosen.samples])
        theirs(whole, inputs, folder / "theirs.onnx", folder)
        verdicts = {}
        for word, wanted in (("all", 0.0), ("default", 0.97)):
            done = dc.export(
                model,
                folder / f"{word}.onnx",
                int8=True,
                calibrate=chosen,
                min_agreement=wanted,
                compare=False,
            )
            verdicts[word] = done.verdict.lines()
        files = {
            word: open_exported(folder / f"{word}.onnx")
            for word in ("float32", "theirs", "all", "default")
        }
        times = time_of(files)
        pictures = [one.image for one in measured.samples]
        for word, file in files.items():
            f1 = agreement_of(likeness(whole, file, pictures))
            ap, _ = average_precision(file, measured)
            speed = times["float32"] / times[word]
            print(
                f"| {name} | {word} | {f1:.3f} | {100 * ap:.2f} | {times[word]:.2f} "
                f"| {speed:.2f} | {Path(file.path).stat().st_size / 1e6:.2f} |",
                flush=True,
            )
        for word, lines in verdicts.items():
            print(f"  {word}: {'; '.join(lines)}", flush=True)


def main():
    """Read the command line."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--data", default="../shared/data/coco128")
    parser.add_argument("--limit", type=int, default=0, help="pictures of each half, at most")
    asked = parser.parse_args()
    print("| model | file | F1 | AP | ms | times as fast | MB |\n|---|---|---|---|---|---|---|")
    for name in asked.names:
        measure(name, asked.models, asked.data, asked.limit)


if __name__ == "__main__":
    main()

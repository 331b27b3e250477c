"""Files that darkconv writes for itself: plans, profiles, and what exported models say."""

import functools
import json
import tempfile
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.core.model import Header
from darkconv.darknet.cfg import cfg_bytes
from darkconv.darknet.darkflow import read_profile
from darkconv.darknet.description import describe, read_description
from darkconv.errors import DarkconvError, Where
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.profile import BINS, LayerStatistics, Profile
from networks import network, random_model
from plans import unguarded_plan
from untrusted.mutation import OF_BYTES, OF_TEXT, line_from
from untrusted.reader import Reader

BODY = (
    "[convolutional]\nfilters=6\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=14\nactivation=linear\n"
    "[yolo]\nclasses=2\nnum=2\nanchors=1,1,2,2\n"
)
JSON_LINES = [
    b"null,",
    b"[]",
    b"{}",
    b'"keep": null,',
    b'"0": {},',
    b'"99": 1,',
    b"NaN",
    b"[" * 3000,
]


@functools.cache
def model():
    return random_model(network(BODY), names=("cat", "dog"))


def profile() -> Profile:
    layers = {}
    stream = np.random.default_rng(0)
    for layer in model().network.layers:
        c = layer.out_shape.c
        histogram = stream.integers(0, 9, (c, BINS))
        layers[layer.index] = LayerStatistics(
            128, stream.normal(size=c), stream.uniform(1, 2, c), histogram
        )
    return Profile(fingerprint(model()), 2, layers, {"pictures": "pics"})


def written(write, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def plan_seeds() -> list[bytes]:
    plans = [
        unguarded_plan(model(), keep=0.5, score="l1"),
        unguarded_plan(model(), profile(), keep=0.7),
    ]
    return [written(lambda path, plan=plan: plan.save(path), "plan.json") for plan in plans]


def check_plan(data: bytes, folder: Path) -> None:
    path = folder / "plan.json"
    path.write_bytes(data)
    plan = PrunePlan.load(path)
    small = dc.prune(model(), plan, compensate=False)
    for index, kept in plan.keep.items():
        assert small.network.shapes[index].c == len(kept)
    dc.prune(model(), plan)


def profile_seeds() -> list[bytes]:
    return [written(profile().save, "profile.npz")]


def check_profile(data: bytes, folder: Path) -> None:
    path = folder / "profile.npz"
    path.write_bytes(data)
    loaded = Profile.load(path)
    assert repr(loaded)
    assert loaded.score.keys() == loaded.layers.keys()
    loaded.merge(loaded)
    plan = unguarded_plan(model(), loaded, keep=0.5)
    dc.prune(model(), plan, profile=loaded)


def description_seeds() -> list[bytes]:
    told = describe(model().network, Header.new(model().dialect), model().names)
    return [json.dumps(told, indent=1).encode(), json.dumps({**told, "tree:a": "x -1\n"}).encode()]


def check_description(data: bytes, folder: Path) -> None:
    """Metadata of exported files: any texts under any keys."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        raise DarkconvError("no JSON") from None
    if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
        raise DarkconvError("no metadata")
    net, header, names = read_description(told, Where(file="net.safetensors"))
    again = describe(net, header, names)
    assert again["cfg"] == told["cfg"]
    assert cfg_bytes(read_description(again, Where())[0].config) == cfg_bytes(net.config)
    assert all(isinstance(name, str) for name in names)
    assert all(isinstance(number, int) for number in vars(header).values())


def check_lists(data: bytes, folder: Path) -> None:
    path = folder / "lists.json"
    path.write_bytes(data)
    for number, indices in read_profile(path).items():
        assert isinstance(number, int)
        assert indices.dtype == np.int64
        assert indices.ndim == 1


def list_seeds() -> list[bytes]:
    def write(path: Path) -> None:
        np.savez_compressed(path, np.arange(3), np.array([5]))

    return [b"[[0, 3, 4],\n [1, 2], []]", b'{"0": [1, 2],\n "7": [3]}', written(write, "lists.npz")]


def check_classes(data: bytes, folder: Path) -> None:
    """A list of classes as users write it."""
    wanted = data.decode("utf-8", "surrogateescape").split(",")
    small = dc.reclass(model(), keep=wanted)
    assert len(small.names) == len(wanted)
    assert all(head.spec.num_classes(head.in_shapes) == len(wanted) for head in small.network.heads)
    assert cfg_bytes(small.network.config)


CLASSES = [b"dog,cat", b"pet=cat+dog", b"1", b"fox=cat,dog"]

EXPORTED = [
    Reader("plan", check_plan, plan_seeds, (*OF_TEXT, line_from(JSON_LINES))),
    Reader("profile", check_profile, profile_seeds, OF_BYTES),
    Reader("description", check_description, description_seeds, OF_TEXT),
    Reader("class list", check_classes, lambda: CLASSES, OF_TEXT),
    Reader("index lists", check_lists, list_seeds, (*OF_TEXT, *OF_BYTES, line_from(JSON_LINES))),
]

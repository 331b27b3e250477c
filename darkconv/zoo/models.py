"""List where the models of the bundled networks are published.

The addresses are those that their authors name, and the mirror in the releases of hank-ai's
Darknet. A size or a SHA-256 stands here only where it is documented; every file is checked against
its cfg.
"""

import difflib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from darkconv.darknet.bundled import bundled_cfg
from darkconv.errors import DarkconvError


@dataclass(frozen=True)
class ClassList:
    """The classes of a model.

    Attributes:
        data_set: name of the data set that the model was trained on.
        count: number of classes.
        file: the file of their names in this package; None for the longest lists.
    """

    data_set: str
    count: int
    file: str | None = None

    def names(self) -> bytes | None:
        """Return the bytes of the names file; None where there is none."""
        return files(__package__).joinpath(self.file).read_bytes() if self.file else None


COCO = ClassList("COCO", 80, "coco.names")
VOC = ClassList("VOC", 20, "voc.names")
BDD = ClassList("BDD100K", 10, "bdd.names")
IMAGENET = ClassList("ImageNet", 1000)
WORD_TREE = ClassList("COCO and ImageNet", 9418)


@dataclass(frozen=True)
class Published:
    """A model whose weights are public and whose cfg is bundled.

    Attributes:
        name: name of the cfg, and stem of the files that are written.
        classes: the classes of the model.
        addresses: addresses of the weights, in the order in which they are tried.
        size: bytes of the weights, where they are documented.
        sha256: SHA-256 of the weights, where independent sources name the same one.
        page: page on which a browser finds the weights, where they have no address of their own.
    """

    name: str
    classes: ClassList
    addresses: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    page: str | None = None

    def to_dict(self, size: int) -> dict[str, Any]:
        """Return the model as a dictionary for JSON.

        Args:
            size: bytes of its weights.
        """
        return {
            "name": self.name,
            "data_set": self.classes.data_set,
            "classes": self.classes.count,
            "bytes": size,
            "sha256": self.sha256,
            "addresses": list(self.addresses),
            "page": self.page,
        }

    @property
    def cfg(self) -> Path:
        """Return the path of the bundled cfg."""
        path = bundled_cfg(self.name)
        assert path is not None
        return path

    @property
    def source(self) -> str:
        """Return the publisher of the weights in short: `github.com/AlexeyAB/darknet`."""
        if not self.addresses:
            return f"{urlsplit(self.page or '').netloc}, by hand"
        host, *path = self.addresses[0].partition("://")[2].split("/")
        return "/".join([host, *path[:2]]) if host == "github.com" else host


def _pjreddie(file: str) -> tuple[str, ...]:
    return f"https://data.pjreddie.com/files/{file}", _old_pjreddie(file)


def _old_pjreddie(file: str) -> str:
    """Return the address that was known for years, which redirects to the new one."""
    return f"https://pjreddie.com/media/files/{file}"


def _alexeyab(release: str, file: str) -> str:
    return f"https://github.com/AlexeyAB/darknet/releases/download/{release}/{file}"


def _hank_ai(file: str) -> str:
    return f"https://github.com/hank-ai/darknet/releases/download/v2.0/{file}"


MODELS = {
    model.name: model
    for model in (
        Published(
            "yolov7",
            COCO,
            (_alexeyab("yolov4", "yolov7.weights"), _hank_ai("yolov7.weights")),
        ),
        Published("yolov7-tiny", COCO, (_alexeyab("yolov4", "yolov7-tiny.weights"),)),
        Published(
            "yolov4",
            COCO,
            (_alexeyab("darknet_yolo_v3_optimal", "yolov4.weights"), _hank_ai("yolov4.weights")),
            size=257_717_640,
            sha256="e8a4f6c62188738d86dc6898d82724ec0964d0eb9d2ae0f0a9d53d65d108d562",
        ),
        Published(
            "yolov4-tiny",
            COCO,
            (
                _alexeyab("darknet_yolo_v4_pre", "yolov4-tiny.weights"),
                _hank_ai("yolov4-tiny.weights"),
            ),
            size=24_251_276,
            sha256="cf9fbfd0f6d4869b35762f56100f50ed05268084078805f0e7989efe5bb8ca87",
        ),
        Published(
            "yolov4-csp",
            COCO,
            (_alexeyab("darknet_yolo_v4_pre", "yolov4-csp.weights"),),
            sha256="019496affba568f7439e54797a1772657bb01126b707fbd93407c0b20c20dca1",
        ),
        Published(
            "csresnext50-panet-spp",
            COCO,
            page="https://drive.google.com/file/d/1aNXdM8qVy11nqTcd2oaVB3mf7ckr258-/view",
        ),
        Published(
            "enet-coco",
            COCO,
            page="https://drive.google.com/file/d/1FlHeQjWEQVJt0ay1PVsiuuMzmtNyv36m/view",
        ),
        Published(
            "Gaussian_yolov3",
            BDD,
            page="https://drive.google.com/open?id=1Eutnens-3z6o4LYe0PZXJ1VYNwcZ6-2Y",
        ),
        Published(
            "yolov3",
            COCO,
            (*_pjreddie("yolov3.weights"), _hank_ai("yolov3.weights")),
            size=248_007_048,
            sha256="523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297",
        ),
        Published(
            "yolov3-tiny",
            COCO,
            (*_pjreddie("yolov3-tiny.weights"), _hank_ai("yolov3-tiny.weights")),
            size=35_434_956,
            sha256="dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        ),
        Published(
            "yolov3-spp",
            COCO,
            _pjreddie("yolov3-spp.weights"),
            sha256="87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4",
        ),
        Published(
            "yolov2",
            COCO,
            (*_pjreddie("yolov2.weights"), _hank_ai("yolov2.weights")),
            size=203_934_260,
            sha256="d9945162ed6f54ce1a901e3ec537bdba4d572ecae7873087bd730e5a7942df3f",
        ),
        Published(
            "yolov2-tiny",
            COCO,
            (*_pjreddie("yolov2-tiny.weights"), _hank_ai("yolov2-tiny.weights")),
            size=44_948_600,
        ),
        Published("yolov2-voc", VOC, _pjreddie("yolov2-voc.weights")),
        Published(
            "yolov2-tiny-voc", VOC, (_old_pjreddie("yolov2-tiny-voc.weights"),), size=63_471_556
        ),
        Published("yolo9000", WORD_TREE, (_old_pjreddie("yolo9000.weights"),)),
        Published("yolov1", VOC, _pjreddie("yolov1/yolov1.weights"), size=789_312_988),
        Published(
            "yolov1-tiny",
            VOC,
            (_old_pjreddie("yolov1/tiny-yolov1.weights"),),
            size=108_399_816,
        ),
        Published("darknet53", IMAGENET, _pjreddie("darknet53.weights")),
        Published("darknet19", IMAGENET, _pjreddie("darknet19.weights")),
        Published("darknet19_448", IMAGENET, _pjreddie("darknet19_448.weights")),
        Published("densenet201", IMAGENET, _pjreddie("densenet201.weights")),
        Published("resnet50", IMAGENET, _pjreddie("resnet50.weights")),
        Published("extraction", IMAGENET, _pjreddie("extraction.weights")),
        Published("vgg-16", IMAGENET, _pjreddie("vgg-16.weights")),
        Published("alexnet", IMAGENET, _pjreddie("alexnet.weights"), size=249_513_392),
    )
}
"""The models by name, the newest first."""


def find_model(name: str) -> Published:
    """Return the model of a name.

    Args:
        name: name of a bundled cfg, such as "yolov3".

    Raises:
        DarkconvError: there is no such model.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name.lower(), MODELS, n=3)
    raise DarkconvError(
        f"{name}: no model of this name is known",
        hint=f"did you mean {' or '.join(near)}?" if near else "`darkconv fetch` lists them",
    )

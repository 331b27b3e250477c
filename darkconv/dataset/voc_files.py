"""Write Pascal VOC's annotations."""

import re
from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape

from darkconv.dataset.collection import CollectedPicture, Collection, joined
from darkconv.dataset.darknet_files import split_words
from darkconv.dataset.splits import VALID
from darkconv.errors import DatasetError

OBJECT = (
    "  <object>\n    <name>{name}</name>\n    <pose>Unspecified</pose>\n"
    "    <truncated>0</truncated>\n    <difficult>{difficult}</difficult>\n    <bndbox>\n"
    "      <xmin>{0:.12g}</xmin>\n      <ymin>{1:.12g}</ymin>\n"
    "      <xmax>{2:.12g}</xmax>\n      <ymax>{3:.12g}</ymax>\n    </bndbox>\n  </object>\n"
)
_NO_XML = re.compile("[^\t\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""The characters that XML cannot hold."""


def voc_files(collection: Collection) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a VOC data set: annotations, and image sets if there are splits.

    Args:
        collection: the pictures with their splits and class names.

    Yields:
        Path within the folder, and content.

    Raises:
        DatasetError: a class has a name that XML cannot hold.
    """
    require_text(collection, "XML", lambda name: bool(_NO_XML.search(name)))
    for item in collection.items:
        yield f"Annotations/{item.stem}.xml", annotation(item).encode()
    if collection.splits:
        for word, items in split_words(collection, {VALID: "val"}).items():
            yield f"ImageSets/Main/{word}.txt", joined(item.stem for item in items)


def annotation(item: CollectedPicture) -> str:
    """Return the XML text of a picture's annotation.

    Args:
        item: the picture with its boxes.
    """
    width, height = item.size
    objects = (
        OBJECT.format(*box, name=escape(name), difficult=int(difficult))
        for name, box, difficult in item.labels()
    )
    return (
        "<annotation>\n  <folder>JPEGImages</folder>\n"
        f"  <filename>{escape(_printable(item.name))}</filename>\n"
        f"  <size>\n    <width>{width}</width>\n    <height>{height}</height>\n"
        f"    <depth>3</depth>\n  </size>\n  <segmented>0</segmented>\n{''.join(objects)}"
        "</annotation>\n"
    )


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)


def require_text(collection: Collection, form: str, is_refused: Callable[[str], bool]) -> None:
    """Check that a file format can hold all class names.

    Args:
        collection: the data set that is about to be written.
        form: the name of the format, for messages.
        is_refused: returns True for a name that the format cannot hold.

    Raises:
        DatasetError: a name has bytes of an unknown encoding, or control characters.
    """
    for name in collection.names:
        if is_refused(name):
            raise DatasetError("a class has a name that " + form + " cannot hold", found=name)

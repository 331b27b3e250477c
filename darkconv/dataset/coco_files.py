"""Write COCO files."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from darkconv.dataset.collection import CollectedPicture, Collection
from darkconv.dataset.darknet_files import split_words
from darkconv.dataset.splits import VALID
from darkconv.dataset.voc_files import require_text
from darkconv.encodings import keeps_bytes


def coco_files(collection: Collection) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a COCO data set: one for each split, or one for all pictures.

    Args:
        collection: the pictures with their splits and class names.

    Yields:
        Path within the folder, and content.

    Raises:
        DatasetError: a class has a name that JSON cannot hold.
    """
    require_text(collection, "JSON", keeps_bytes)
    if not collection.splits:
        yield "annotations.json", content(collection, collection.items)
        return
    for word, items in split_words(collection, {VALID: "val"}).items():
        yield f"annotations/instances_{word}.json", content(collection, items)


def content(collection: Collection, items: Sequence[CollectedPicture]) -> bytes:
    """Return the content of a COCO file; difficult boxes become crowds.

    Args:
        collection: the data set, for its class names; category ids count from 1.
        items: the pictures of the file; image ids count from 1.
    """
    numbers = {name: number for number, name in enumerate(collection.names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for item in items:
        width, height = item.size
        images.append(
            {"id": len(images) + 1, "file_name": item.name, "width": width, "height": height}
        )
        for name, (x0, y0, x1, y1), difficult in item.labels():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": numbers[name],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(difficult),
                    "segmentation": [],
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    return json.dumps(whole).encode()

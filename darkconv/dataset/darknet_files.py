"""Write Darknet's label files, lists and .data files, and data.yaml."""

from collections.abc import Iterator, Mapping

from darkconv.boxes import centre_of
from darkconv.darknet.data import names_bytes
from darkconv.dataset.collection import CollectedPicture, Collection, joined
from darkconv.dataset.splits import TRAIN, VALID, canonical

Files = Iterator[tuple[str, bytes]]

IMAGES, LABELS, DIFFICULT = "images", "labels", "difficult"


def data_files(collection: Collection, *, root: str = "") -> Files:
    """Yield the files of a Darknet data set: `obj.data`, `obj.names`, lists and labels.

    Args:
        collection: the pictures with their splits and class names.
        root: the folder of the pictures as the lists write it: `folder/`, or "".

    Yields:
        Path within the folder, and content.
    """
    yield from darknet_files(collection, words={VALID: VALID}, root=root)
    yield "obj.names", names_bytes(collection.names, "obj.names")
    values = data_values(collection, "obj.names")
    yield "obj.data", joined(f"{key} = {value}" for key, value in values.items())


def data_values(collection: Collection, names: str, *, root: str = "") -> dict[str, object]:
    """Return the keys and values of a .data file.

    Args:
        collection: the pictures with their splits and class names.
        names: the path of the names file.
        root: the folder of the lists as the .data file writes it: `folder/`, or "".
    """
    words = split_words(collection, {VALID: VALID})
    values: dict[str, object] = {"classes": len(collection.names)}
    values |= {word: f"{root}{word}.txt" for word in words}
    for word, items in words.items():
        if any(item.is_difficult for item in items):
            key = DIFFICULT if word == VALID else f"{DIFFICULT}_{word}"
            values[key] = f"{root}{DIFFICULT}-{word}.txt"
    return {**values, "names": names, "backup": "backup/"}


def yolo_files(collection: Collection) -> Files:
    """Yield the files of a data set with `data.yaml`.

    Args:
        collection: the pictures with their splits and class names.

    Yields:
        Path within the folder, and content.
    """
    words = split_words(collection, {VALID: "val"})
    yield from darknet_files(collection, words={VALID: "val"}, root="./")
    lines = ["path: .", *(f"{word}: {word}.txt" for word in words)]
    for word, items in words.items():
        if any(item.is_difficult for item in items):
            lines.append(f"{DIFFICULT}_{word}: {DIFFICULT}-{word}.txt")
    lines += [f"nc: {len(collection.names)}", "names:"]
    lines += [f"  {number}: {quoted(name)}" for number, name in enumerate(collection.names)]
    yield "data.yaml", joined(lines)


def darknet_files(collection: Collection, *, words: Mapping[str, str], root: str = "") -> Files:
    """Yield the label files of all pictures and the lists of the splits.

    Darknet's labels have no mark for difficult boxes. These are written to files of their own,
    which the list `difficult =` names, as Darknet's `detector map` reads them.

    Args:
        collection: the pictures with their splits and class names.
        words: the names of splits in this layout, by Darknet's names.
        root: the folder of the pictures as the lists write it: `folder/`, or "".

    Yields:
        Path within the folder, and content.
    """
    index = {name: number for number, name in enumerate(collection.names)}
    for item in collection.items:
        yield f"{LABELS}/{item.stem}.txt", joined(label_lines(item, index, difficult=False))
        if item.is_difficult:
            lines = label_lines(item, index, difficult=True)
            yield f"{DIFFICULT}/{LABELS}/{item.stem}.txt", joined(lines)
    for word, items in split_words(collection, words).items():
        yield f"{word}.txt", joined(f"{root}{IMAGES}/{item.name}" for item in items)
        if any(item.is_difficult for item in items):
            lines = (f"{root}{DIFFICULT}/{IMAGES}/{item.name}" for item in items)
            yield f"{DIFFICULT}-{word}.txt", joined(lines)


def split_words(
    collection: Collection, words: Mapping[str, str]
) -> dict[str, tuple[CollectedPicture, ...]]:
    """Return the pictures by the split names of a layout; without splits all pictures are `train`.

    Args:
        collection: the pictures with their splits.
        words: the names of splits in this layout, by Darknet's names.
    """
    if not collection.splits:
        return {TRAIN: collection.items}
    found = {words.get(canonical(name), name): items for name, items in collection.splits.items()}
    return found if len(found) == len(collection.splits) else collection.splits


def label_lines(
    item: CollectedPicture, index: Mapping[str, int], *, difficult: bool
) -> Iterator[str]:
    """Yield the lines of a label file, `class x y width height` in fractions of the picture.

    Args:
        item: the picture, whose size gives the fractions.
        index: the class index by name.
        difficult: True for the difficult labels, False for the others.
    """
    rows = list(item.labels(difficult=difficult))
    width, height = item.size if rows else (1, 1)
    for name, box, _ in rows:
        pairs = zip(centre_of(*box), (width, height) * 2, strict=True)
        numbers = [value / side for value, side in pairs]
        yield f"{index[name]} {' '.join(f'{number:.12g}' for number in numbers)}"


def quoted(name: str) -> str:
    """Return a text in YAML's double quotes, with escapes for characters that cannot be printed.

    Args:
        name: any text; bytes that are not UTF-8 are kept.
    """
    characters = (f"\\{c}" if c in '"\\' else c for c in name)
    return '"' + "".join(c if _is_plain(c) else f"\\u{ord(c):04x}" for c in characters) + '"'


def _is_plain(text: str) -> bool:
    return len(text) > 1 or text.isprintable() or "\udc80" <= text <= "\udcff"

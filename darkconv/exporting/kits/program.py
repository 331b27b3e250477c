"""The short programs in kits: they fit pictures as Darknet does, and print a model's results."""

from dataclasses import dataclass

from darkconv.exporting.kits.kit import Filling

DETECT, CLASSIFY = "detect.py", "classify.py"
FOLDER = "programs"
"""Folder of the programs' templates."""
INNER = {
    False: "SIZE",
    True: "np.maximum(1, np.minimum(SIZE, shape * SIZE[::-1] // shape[::-1]))",
}
"""Expression for the width and height of a picture in the input, without and with letterbox."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """The parts of a program that differ from kit to kit, as lines of Python.

    Attributes:
        library: imports the library that runs the network.
        load: loads the network from the kit's files.
        run: computes `values`, outputs by name, from `canvas`, float32 levels (height, width, BGR).
    """

    library: str = ""
    load: str
    run: str


def write_program(kit: Filling, program: Program) -> str:
    """Write the program for the kind of network, and return its name.

    Args:
        kit: folder to fill.
        program: parts of the program that are the kit's own.

    Returns:
        Name of the file in the kit's folder.
    """
    name = DETECT if kit.facts.finds_boxes else CLASSIFY
    inner = INNER[kit.facts.is_letterbox]
    words = {one: getattr(program, one).strip("\n") for one in ("load", "run")}
    kit.fill_in(name, folder=FOLDER, inner=inner, library=program.library, **words)
    return name


def what_it_does(kit: Filling) -> str:
    """Return the description of the program for the kit's page.

    Args:
        kit: folder that is filled.
    """
    facts = kit.facts
    if not facts.finds_boxes:
        return "the program: prints the five classes with the highest scores"
    return (
        f"the program: scores above {facts.threshold:g}, plain suppression at an overlap of "
        f"{facts.nms:g}"
    )


def how_it_fits(kit: Filling) -> str:
    """Return the description of how pictures are fitted to the input, for the kit's page.

    Args:
        kit: folder that is filled.
    """
    size = f"{kit.facts.width} x {kit.facts.height}"
    if not kit.facts.finds_boxes:
        return f"scaled until they cover {size}, and their middle is cut out"
    if kit.facts.is_letterbox:
        return f"fitted into {size} between grey borders"
    return f"stretched to {size}"


def what_it_prints(kit: Filling) -> str:
    """Return the description of the lines that the program prints, for the kit's page.

    Args:
        kit: folder that is filled.
    """
    if not kit.facts.finds_boxes:
        return "Each line of what it prints is a class: the picture, the name and the score."
    return (
        "Each line of what it prints is a box: the picture, the class, the score,\nand x, y, width "
        "and height in pixels of the picture."
    )

"""The short programs in kits: they fit pictures as Darknet does, and print what a model finds."""

from dataclasses import dataclass

from darkconv.exporting.kits.kit import Filling

DETECT, CLASSIFY = "detect.py", "classify.py"
FOLDER = "programs"
"""Of the templates."""
INNER = {
    False: "SIZE",
    True: "np.maximum(1, np.minimum(SIZE, shape * SIZE[::-1] // shape[::-1]))",
}
"""Width and height that a picture takes of the input, without and with a letterbox."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a program has of its own, as lines of Python.

    Attributes:
        library: imports what runs the network.
        load: makes it of the kit's files.
        run: gives `values`, by name, of `canvas`, float32 levels (height, width, BGR).
    """

    library: str = ""
    load: str
    run: str


def write_program(kit: Filling, program: Program) -> str:
    """Write the program for the kind of network that it is, and return its name."""
    name = DETECT if kit.facts.finds_boxes else CLASSIFY
    inner = INNER[kit.facts.is_letterbox]
    words = {one: getattr(program, one).strip("\n") for one in ("load", "run")}
    kit.fill_in(name, folder=FOLDER, inner=inner, library=program.library, **words)
    return name


def what_it_does(kit: Filling) -> str:
    """Return what READMEs say of the program."""
    facts = kit.facts
    if not facts.finds_boxes:
        return "the program: prints the five classes with the highest scores"
    return (
        f"the program: scores above {facts.threshold:g}, plain suppression at an overlap of "
        f"{facts.nms:g}"
    )


def how_it_fits(kit: Filling) -> str:
    """Return what READMEs say of how pictures become the input."""
    size = f"{kit.facts.width} x {kit.facts.height}"
    if not kit.facts.finds_boxes:
        return f"scaled until they cover {size}, and their middle is cut out"
    if kit.facts.is_letterbox:
        return f"fitted into {size} between grey borders"
    return f"stretched to {size}"


def what_it_prints(kit: Filling) -> str:
    """Return what READMEs say of the lines that it prints."""
    if not kit.facts.finds_boxes:
        return "Each line of what it prints is a class: the picture, the name and the score."
    return (
        "Each line of what it prints is a box: the picture, the class, the score,\nand x, y, width "
        "and height in pixels of the picture."
    )

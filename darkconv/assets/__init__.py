"""Load the bundled model `digits10`, a small detector of the ten digits, and its test pictures.

They were made by tools/make_digits10.py from scikit-learn's handwritten digits.
"""

from importlib.resources import files
from pathlib import Path

from darkconv.core.model import Model
from darkconv.loading import load


def digits10_folder() -> Path:
    """Return the folder with the model and its pictures."""
    return Path(str(files(__name__))) / "digits10"


def load_digits10() -> Model:
    """Load the bundled model."""
    folder = digits10_folder()
    return load(folder / "digits10.cfg", folder / "digits10.weights")


def digits10_pictures() -> list[Path]:
    """Return the test pictures, sorted; the labels of NNN.jpg are in NNN.txt."""
    return sorted((digits10_folder() / "images").glob("*.jpg"))


def digits10_unlabelled() -> Path:
    """Return the folder of other pictures, without labels, on which a dissected model recovers."""
    return digits10_folder() / "unlabelled"

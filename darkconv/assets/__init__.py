"""The bundled model `digits10`, a small detector of the ten digits, and its test pictures.

Made by tools/make_digits10.py from scikit-learn's handwritten digits.
"""

from importlib.resources import files
from pathlib import Path

from darkconv.core.model import Model
from darkconv.loading import load


def digits10_folder() -> Path:
    """Where the model and its pictures lie."""
    return Path(str(files(__name__))) / "digits10"


def load_digits10() -> Model:
    """The model."""
    folder = digits10_folder()
    return load(folder / "digits10.cfg", folder / "digits10.weights")


def digits10_pictures() -> list[Path]:
    """Test pictures; the labels of NNN.jpg are in NNN.txt."""
    return sorted((digits10_folder() / "images").glob("*.jpg"))


def digits10_unlabelled() -> Path:
    """Folder of other pictures, without labels: what a dissected model recovers on."""
    return digits10_folder() / "unlabelled"

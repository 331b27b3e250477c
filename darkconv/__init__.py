"""darkconv: Darknet models to PyTorch, Keras and ONNX and back, exactly.

    import darkconv as dc

    model = dc.load("yolov3-tiny.cfg", "yolov3-tiny.weights")
    for found in dc.detect(model, "dog.jpg"):
        print(found)

Importing the package is cheap: numpy and everything else are loaded at first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from darkconv import logs as _logs  # noqa: F401 - its filter acts on all messages

__version__ = "0.1.0"
"""The version of this package."""

if TYPE_CHECKING:
    from darkconv.backends import from_keras, from_torch, to_keras, to_onnx, to_torch, trace
    from darkconv.core.model import Model, replace_arrays
    from darkconv.dataset import Dataset, open_dataset
    from darkconv.dataset.anchors import Anchors, anchors
    from darkconv.detection import Detection, Detections, Frame
    from darkconv.detection.detector import Detector, detect
    from darkconv.dissection import Dissection, dissect
    from darkconv.dissection.times import measure_times
    from darkconv.errors import (
        CfgError,
        DarkconvError,
        DatasetError,
        GraphError,
        MissingDependencyError,
        OptionError,
        PlanError,
        UnknownSectionError,
        UnsupportedError,
        WeightsError,
        Where,
    )
    from darkconv.evaluation.evaluate import evaluate
    from darkconv.evaluation.result import Evaluation
    from darkconv.exporting.export import export
    from darkconv.exporting.writing import Exported
    from darkconv.imports.importing import import_weights
    from darkconv.loading import load, save
    from darkconv.profiling.collect import profile
    from darkconv.profiling.losses import measure_losses
    from darkconv.profiling.reconstruction import reconstruct
    from darkconv.surgery.classes import reclass
    from darkconv.surgery.graft import GraftResult, graft
    from darkconv.surgery.plan import PrunePlan, plan
    from darkconv.surgery.profile import Profile
    from darkconv.surgery.prune import prune
    from darkconv.training.recipe import Recipe
    from darkconv.training.result import Finetuned
    from darkconv.training.run import finetune
    from darkconv.verification.results import Verification
    from darkconv.verification.verify import verify

_ERRORS = (
    "CfgError",
    "DarkconvError",
    "DatasetError",
    "GraphError",
    "MissingDependencyError",
    "OptionError",
    "PlanError",
    "UnknownSectionError",
    "UnsupportedError",
    "WeightsError",
    "Where",
)
_HOMES = {
    "Finetuned": "darkconv.training.result",
    "Recipe": "darkconv.training.recipe",
    "finetune": "darkconv.training.run",
    **dict.fromkeys(_ERRORS, "darkconv.errors"),
    "Anchors": "darkconv.dataset.anchors",
    "anchors": "darkconv.dataset.anchors",
    "Dataset": "darkconv.dataset",
    "Detection": "darkconv.detection",
    "Detections": "darkconv.detection",
    "Detector": "darkconv.detection",
    "Frame": "darkconv.detection",
    "Model": "darkconv.core.model",
    "detect": "darkconv.detection",
    "Evaluation": "darkconv.evaluation.result",
    "evaluate": "darkconv.evaluation.evaluate",
    "Exported": "darkconv.exporting.writing",
    "Dissection": "darkconv.dissection",
    "dissect": "darkconv.dissection",
    "export": "darkconv.exporting.export",
    "from_keras": "darkconv.backends",
    "from_torch": "darkconv.backends",
    "import_weights": "darkconv.imports.importing",
    "PrunePlan": "darkconv.surgery.plan",
    "Profile": "darkconv.surgery.profile",
    "GraftResult": "darkconv.surgery.graft",
    "graft": "darkconv.surgery.graft",
    "load": "darkconv.loading",
    "open_dataset": "darkconv.dataset",
    "measure_losses": "darkconv.profiling.losses",
    "measure_times": "darkconv.dissection.times",
    "plan": "darkconv.surgery.plan",
    "profile": "darkconv.profiling.collect",
    "prune": "darkconv.surgery.prune",
    "reclass": "darkconv.surgery.classes",
    "reconstruct": "darkconv.profiling.reconstruction",
    "replace_arrays": "darkconv.core.model",
    "save": "darkconv.loading",
    "to_keras": "darkconv.backends",
    "to_onnx": "darkconv.backends",
    "to_torch": "darkconv.backends",
    "trace": "darkconv.backends",
    "Verification": "darkconv.verification.results",
    "verify": "darkconv.verification.verify",
}

__all__ = [
    "Anchors",
    "CfgError",
    "DarkconvError",
    "Dataset",
    "DatasetError",
    "Detection",
    "Detections",
    "Detector",
    "Dissection",
    "Evaluation",
    "Exported",
    "Finetuned",
    "Frame",
    "GraftResult",
    "GraphError",
    "MissingDependencyError",
    "Model",
    "OptionError",
    "PlanError",
    "Profile",
    "PrunePlan",
    "Recipe",
    "UnknownSectionError",
    "UnsupportedError",
    "Verification",
    "WeightsError",
    "Where",
    "__version__",
    "anchors",
    "detect",
    "dissect",
    "evaluate",
    "export",
    "finetune",
    "from_keras",
    "from_torch",
    "graft",
    "import_weights",
    "load",
    "measure_losses",
    "measure_times",
    "open_dataset",
    "plan",
    "profile",
    "prune",
    "reclass",
    "reconstruct",
    "replace_arrays",
    "save",
    "to_keras",
    "to_onnx",
    "to_torch",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'darkconv' has no attribute {name!r}")
    from darkconv.libraries import telling_missing

    with telling_missing(f"darkconv.{name}"):
        value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__

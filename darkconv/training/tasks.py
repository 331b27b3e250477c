"""The tasks of networks: detection of boxes, or classification of pictures."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from darkconv.augmentation.augment import Augmentation
from darkconv.backends.torch import DarknetModule
from darkconv.core.model import Model
from darkconv.core.names import distinct_names, same_name
from darkconv.core.network import Network
from darkconv.core.processes import Processes
from darkconv.dataset import ClassifiedDataset, Dataset
from darkconv.errors import DatasetError
from darkconv.training.classified import ClassifiedPictures, collate_classified
from darkconv.training.pictures import TrainingPictures, collate
from darkconv.training.validation import evaluate_classifier_module, evaluate_module, write_sheet

Pictures = TorchDataset[tuple[Tensor, Tensor]]
Collate = Callable[[Sequence[tuple[Tensor, Tensor]]], tuple[Tensor, Tensor]]
Data = Dataset | ClassifiedDataset


class Task(Protocol):
    """The functions that differ between detectors and classifiers."""

    @property
    def data(self) -> Data:
        """Pictures to train on."""

    @property
    def collate(self) -> Collate:
        """Function that makes a batch of pictures."""

    def pictures(self, *, augment: bool) -> Any:
        """Build the data as network input, by `Draw`; the result has a length.

        Args:
            augment: change pictures at random as the cfg says.
        """

    def counts(self) -> list[int]:
        """Count the objects, or pictures, of each of the model's classes."""

    def evaluate(
        self, module: DarknetModule, valid: Any, processes: Processes
    ) -> Mapping[str, float]:
        """Measure a module; `score` says which module is best, the higher the better.

        Args:
            module: module, equal in each process.
            valid: labelled pictures.
            processes: processes that share the pictures.
        """

    def draw(self, module: DarknetModule, shown: Any, path: Path) -> None:
        """Write a sheet of predictions, if they can be drawn.

        Args:
            module: module in evaluation mode.
            shown: pictures, the first of which are drawn.
            path: JPEG file.
        """


def is_detector(network: Network) -> bool:
    """Return True if any head of a network predicts boxes.

    Args:
        network: any network.
    """
    return network.finds_boxes


def task_of(model: Model, data: Data, *, letterbox: bool | None, seed: int) -> Task:
    """Choose the task of a model.

    Args:
        model: model that is trained.
        data: pictures to train on.
        letterbox: keep the aspect ratio of a detector's pictures; None for what the network says.
        seed: seed of all randomness.

    Raises:
        DatasetError: the data set of a detector has classes and no boxes.
    """
    if is_detector(model.network):
        if isinstance(data, ClassifiedDataset):
            raise DatasetError(f"{data.source}: a detector learns from boxes, not from classes")
        fit = model.network.options.letterboxes if letterbox is None else letterbox
        return DetectionTask(model, data, fit, seed)
    if not isinstance(data, ClassifiedDataset):
        samples = tuple((sample.image, 0) for sample in data.samples)
        data = ClassifiedDataset(samples, (), data.source, data.problems)
    return ClassificationTask(model, data, seed)


@dataclass(frozen=True)
class DetectionTask:
    """The task of detectors; see `Task`.

    Attributes:
        model: model that is trained.
        data: pictures with boxes.
        letterbox: keep the aspect ratio of pictures; otherwise they are stretched.
        seed: seed of all randomness.
    """

    model: Model
    data: Dataset
    letterbox: bool
    seed: int

    @property
    def collate(self) -> Collate:
        """Function that makes a batch of pictures."""
        return collate

    def pictures(self, *, augment: bool) -> TrainingPictures:
        """Build the training pictures with their boxes.

        Args:
            augment: change pictures at random as the cfg says.
        """
        shape = self.model.network.input_shape
        return TrainingPictures(
            self.data,
            self.model.names,
            (shape.w, shape.h),
            channels=shape.c,
            letterbox=self.letterbox,
            augmentation=_augmentation(self.model, augment),
            seed=self.seed,
        )

    def counts(self) -> list[int]:
        """Count the objects of each of the model's classes."""
        found = Counter(same_name(name) for sample in self.data.samples for name in sample.names)
        return [found[same_name(name)] for name in distinct_names(self.model.names)]

    def evaluate(
        self, module: DarknetModule, valid: Dataset, processes: Processes
    ) -> Mapping[str, float]:
        """Measure the average precision in 0..1; "score" is the AP.

        Args:
            module: module, equal in each process.
            valid: pictures with boxes.
            processes: processes that share the pictures.
        """
        mean = evaluate_module(
            module, self.model, valid, letterbox=self.letterbox, processes=processes
        ).mean
        figures = {"AP": mean.ap, "COCO_AP": mean.coco, "score": mean.ap}
        return {name: value for name, value in figures.items() if value is not None}

    def draw(self, module: DarknetModule, shown: Dataset, path: Path) -> None:
        """Write a sheet of pictures with the boxes that a module finds.

        Args:
            module: module in evaluation mode.
            shown: pictures, the first of which are drawn.
            path: JPEG file.
        """
        write_sheet(module, self.model, shown.samples, path, letterbox=self.letterbox)


@dataclass(frozen=True)
class ClassificationTask:
    """The task of classifiers; see `Task`.

    Attributes:
        model: model that is trained.
        data: pictures with classes; without class names it has no labels.
        seed: seed of all randomness.
    """

    model: Model
    data: ClassifiedDataset
    seed: int

    @property
    def collate(self) -> Collate:
        """Function that makes a batch of pictures."""
        return collate_classified

    def pictures(self, *, augment: bool) -> ClassifiedPictures:
        """Build the training pictures with their classes.

        Args:
            augment: change pictures at random as the cfg says.
        """
        return self._pictures(self.data, _augmentation(self.model, augment))

    def _pictures(self, data: ClassifiedDataset, own: Augmentation) -> ClassifiedPictures:
        shape, outputs = self.model.network.input_shape, self.model.network.layers[-1].out_shape
        return ClassifiedPictures(
            data.samples,
            outputs.size,
            (shape.w, shape.h),
            channels=shape.c,
            augmentation=own,
            seed=self.seed,
        )

    def counts(self) -> list[int]:
        """Count the pictures of each of the model's classes; without labels the list is empty."""
        if not self.data.names:
            return []
        own = distinct_names(self.data.names)
        found = Counter(own[number] for _, number in self.data.samples)
        return [found[name] for name in distinct_names(self.model.names) or own]

    def evaluate(
        self, module: DarknetModule, valid: ClassifiedDataset, processes: Processes
    ) -> Mapping[str, float]:
        """Measure top-1 and top-5 accuracy in 0..1; "score" is top-1.

        Args:
            module: module, equal in each process.
            valid: pictures with classes.
            processes: processes that share the pictures.
        """
        top = evaluate_classifier_module(module, self.model, valid, processes).counts.top
        return {"top1": top[1], "top5": top[5], "score": top[1]}

    def draw(self, module: DarknetModule, shown: ClassifiedDataset, path: Path) -> None:
        """Write nothing: there are no boxes to draw.

        Args:
            module: module, which is not used.
            shown: pictures, which are not used.
            path: file, which is not written.
        """


def _augmentation(model: Model, wanted: bool) -> Augmentation:
    return Augmentation.of(model.network) if wanted else Augmentation.none()

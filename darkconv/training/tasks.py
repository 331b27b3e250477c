"""What a network is for: finding boxes, or telling what a picture shows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from darkconv.backends.torch import DarknetModule
from darkconv.core.model import Model
from darkconv.core.names import distinct_names, same_name
from darkconv.core.network import Network
from darkconv.core.processes import Processes
from darkconv.dataset import ClassifiedDataset, Dataset
from darkconv.errors import DatasetError
from darkconv.training.augment import Augmentation
from darkconv.training.classified import ClassifiedPictures, collate_classified
from darkconv.training.pictures import TrainingPictures, collate
from darkconv.training.validation import evaluate_classifier_module, evaluate_module, write_sheet

Pictures = TorchDataset[tuple[Tensor, Tensor]]
Collate = Callable[[Sequence[tuple[Tensor, Tensor]]], tuple[Tensor, Tensor]]
Data = Dataset | ClassifiedDataset


class Task(Protocol):
    """What differs between networks for different things."""

    @property
    def data(self) -> Data:
        """Pictures to train on."""

    @property
    def collate(self) -> Collate:
        """Makes a batch of pictures."""

    def pictures(self, *, augment: bool) -> Any:
        """The data as network input, by `Draw`; it has a length."""

    def counts(self) -> list[int]:
        """How many objects or pictures of each of the model's classes there are."""

    def evaluate(
        self, module: DarknetModule, valid: Any, processes: Processes
    ) -> Mapping[str, float]:
        """Figures of a module; `score` says which is best, the higher the better.

        Args:
            module: the same in each process.
            valid: pictures.
            processes: that share them.
        """

    def draw(self, module: DarknetModule, shown: Any, path: Path) -> None:
        """Write a sheet of predictions, if that can be drawn."""


def is_detector(network: Network) -> bool:
    """Whether any head of a network predicts boxes."""
    return network.finds_boxes


def task_of(model: Model, data: Data, *, letterbox: bool | None, seed: int) -> Task:
    """What a model is for.

    Args:
        model: to be trained.
        data: pictures to train on.
        letterbox: how a detector's pictures are fitted; None for what the network says.
        seed: of all randomness.

    Raises:
        DatasetError: a data set of the other kind.
    """
    if is_detector(model.network):
        if isinstance(data, ClassifiedDataset):
            raise DatasetError(f"{data.source}: a detector learns from boxes, not from classes")
        fit = model.network.options.letterboxes if letterbox is None else letterbox
        return Detection(model, data, fit, seed)
    if not isinstance(data, ClassifiedDataset):
        samples = tuple((sample.image, 0) for sample in data.samples)
        data = ClassifiedDataset(samples, (), data.source, data.problems)
    return Classification(model, data, seed)


@dataclass(frozen=True)
class Detection:
    """Finding boxes; see `Task`."""

    model: Model
    data: Dataset
    letterbox: bool
    seed: int

    @property
    def collate(self) -> Collate:
        """See `Task`."""
        return collate

    def pictures(self, *, augment: bool) -> TrainingPictures:
        """See `Task`."""
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
        """See `Task`."""
        found = Counter(same_name(name) for sample in self.data.samples for name in sample.names)
        return [found[same_name(name)] for name in distinct_names(self.model.names)]

    def evaluate(
        self, module: DarknetModule, valid: Dataset, processes: Processes
    ) -> Mapping[str, float]:
        """Average precision."""
        mean = evaluate_module(
            module, self.model, valid, letterbox=self.letterbox, processes=processes
        ).mean
        figures = {"AP": mean.ap, "COCO_AP": mean.coco, "score": mean.ap}
        return {name: value for name, value in figures.items() if value is not None}

    def draw(self, module: DarknetModule, shown: Dataset, path: Path) -> None:
        """Boxes."""
        write_sheet(module, self.model, shown.samples, path, letterbox=self.letterbox)


@dataclass(frozen=True)
class Classification:
    """Telling classes; see `Task`. Data without class names has no labels."""

    model: Model
    data: ClassifiedDataset
    seed: int

    @property
    def collate(self) -> Collate:
        """See `Task`."""
        return collate_classified

    def pictures(self, *, augment: bool) -> ClassifiedPictures:
        """See `Task`."""
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
        """See `Task`."""
        if not self.data.names:
            return []
        own = distinct_names(self.data.names)
        found = Counter(own[number] for _, number in self.data.samples)
        return [found[name] for name in distinct_names(self.model.names) or own]

    def evaluate(
        self, module: DarknetModule, valid: ClassifiedDataset, processes: Processes
    ) -> Mapping[str, float]:
        """Top-1 and top-5."""
        top = evaluate_classifier_module(module, self.model, valid, processes).counts.top
        return {"top1": top[1], "top5": top[5], "score": top[1]}

    def draw(self, module: DarknetModule, shown: ClassifiedDataset, path: Path) -> None:
        """Nothing."""


def _augmentation(model: Model, wanted: bool) -> Augmentation:
    return Augmentation.of(model.network) if wanted else Augmentation.none()

"""Refitting the weights that pruning leaves, with progress."""

from darkconv.cli.profile import ProfilingOptions
from darkconv.cli.progress import progress
from darkconv.core.model import Model
from darkconv.dataset import Dataset
from darkconv.surgery.plan import PrunePlan


def refit(
    pruned: Model, original: Model, plan: PrunePlan, pictures: Dataset, options: ProfilingOptions
) -> Model:
    """See `darkconv.profiling.reconstruction.reconstruct`."""
    from darkconv.profiling.reconstruction import reconstruct

    with progress(len(original.network.layers), "refitting layers") as update:
        return reconstruct(
            pruned,
            original,
            plan,
            [sample.image for sample in pictures.samples],
            device=options.device,
            resize=options.resize,
            progress=update,
        )

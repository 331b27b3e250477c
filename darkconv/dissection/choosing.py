"""choose_channels: a plan, and all measurements that it needs."""

from darkconv.core.model import Model
from darkconv.core.processes import working_together
from darkconv.dissection.running import Progress, Running
from darkconv.dissection.times import measure_times
from darkconv.errors import PlanError
from darkconv.profiling.loader import Images
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.planning import Planning
from darkconv.surgery.profile import Profile


def choose_channels(
    model: Model,
    planning: Planning,
    profile: Profile | None,
    against: Profile | None = None,
    *,
    images: Images | None = None,
    batch: int = 8,
    device: str = "auto",
    resize: str | None = None,
    unreadable: str = "skip",
    progress: Progress | None = None,
) -> PrunePlan:
    """Plan which channels are removed; first measure the times of layers and the losses of cuts.

    Both are measured only if the planning needs them.

    Args:
        model: model to be pruned.
        planning: how channels are chosen.
        profile: profile of the model.
        against: profile over other pictures, for the score "contrast"; None for the other scores.
        images: pictures on which the losses of cuts are measured; only allocation "measured" needs
            them.
        batch: number of pictures that are run together.
        device: name of the device, see `dissect`.
        resize: "stretch" or "letterbox"; None for what the dialect and cfg say.
        unreadable: "skip" or "raise", see `dissect`.
        progress: called with the task, the number of things done, and their total; None for nobody.

    Raises:
        PlanError: see `darkconv.plan`; allocation "measured" without pictures or profile.
    """
    losses, times = None, None
    told = Running(progress=progress).told
    total = len(model.network.layers)
    if planning.latency is not None:
        with working_together() as processes:
            own = measure_times(model, progress=told("timing layers", total))
            times = processes.gather(own)[0]
    if planning.is_measured:
        if images is None or profile is None:
            raise PlanError("allocation measured: there are no pictures to measure on")
        from darkconv.profiling.losses import measure_losses

        losses = measure_losses(
            model, profile, images,
            score=planning.score,
            skip_first=planning.skip_first,
            min_keep=planning.min_keep,
            lock=planning.lock,
            against=against,
            batch=batch,
            device=device,
            resize=resize,
            unreadable=unreadable,
            seed=planning.seed,
            progress=told("per cent of cuts", 100),
        )  # fmt: skip
    return planning.plan(model, profile, against, losses=losses, times=times)

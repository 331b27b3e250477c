"""choose_channels: a plan, and all that has to be measured for it."""

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
    """Plan which channels go; measure before how long layers take, and what cuts cost.

    Args:
        model: to be pruned.
        planning: how channels are chosen.
        profile: of the model.
        against: a second one, for the score contrast.
        images: what cuts are tried out on, where the planning measures what they cost.
        batch: pictures that are run together.
        device: see `dissect`, as for the others.
        resize: see there.
        unreadable: see there.
        progress: see there.

    Raises:
        PlanError: see `darkconv.plan`.
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

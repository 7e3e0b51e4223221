"""The lines that a run prints before its first step."""

from pretrain.optim import schedules
from pretrain.run.loop import Run


def headline(run: Run) -> list[str]:
    """Summary of the run: corpus, epoch, how a batch is divided, schedule, notes."""
    config, order, rows = run.config, run.config.order(), run.manifest.rows("train")
    # The epoch that will be read anyway, since planning an epoch of a large corpus takes a while.
    plan = run.planner.plan(run.state.step // run.horizon.steps_per_epoch)
    world, pieces = run.process.world, config.run.accumulate
    return [
        f"{config.model.architecture} on {world} x {run.process.device}, {config.run.precision}: "
        f"{run.manifest.people(rows)} people, {run.manifest.person_days(rows)} person-days; "
        f"an epoch is {plan.steps} steps of {order.batch} windows ({plan.dropped} of {plan.total} dropped); "
        f"steps {run.state.step} to {config.steps}; held out: {run.heldout.description}",
        f"batch {order.batch} = {world} ranks x {pieces} micro-batches x {order.batch // (world * pieces)} windows; "
        + schedules.describe(config.optimizer, run.horizon),
        *run.notes,
    ]

import json
import math

from pretrain.run.stopping import EarlyStopping


def observe(stopping: EarlyStopping, losses: list[float]) -> list[bool]:
    start = stopping.last_step
    return [stopping.observe(start + number, loss) for number, loss in enumerate(losses, start=1)]


def test_it_stops_after_patience_losses_that_are_no_better() -> None:
    stopping = EarlyStopping(2)
    assert observe(stopping, [3.0, 2.0, 2.0]) == [True, True, False]
    assert not stopping.enough
    assert observe(stopping, [2.5]) == [False]
    assert stopping.enough
    assert (stopping.best, stopping.best_step) == (2.0, 2)


def test_a_better_loss_starts_the_count_anew() -> None:
    stopping = EarlyStopping(2)
    observe(stopping, [3.0, 3.0, 1.0, 1.0])
    assert not stopping.enough


def test_without_patience_it_never_stops() -> None:
    stopping = EarlyStopping(0)
    observe(stopping, [1.0] * 50)
    assert not stopping.enough


def test_a_loss_that_is_not_a_number_is_never_better() -> None:
    stopping = EarlyStopping(2)
    assert observe(stopping, [math.nan]) == [False]
    assert not stopping.enough
    assert observe(stopping, [math.nan]) == [False]
    assert stopping.enough


def test_a_loss_computed_again_after_a_resumption_is_counted_once() -> None:
    stopping = EarlyStopping(3)
    observe(stopping, [2.0, 1.0, 1.5])
    again = EarlyStopping(3)
    again.restore(json.loads(json.dumps(stopping.as_dict())))
    assert again == stopping
    assert again.observe(3, 1.5) is False
    assert again == stopping

import gc

from app.core.heap import settle


def test_what_lives_at_the_start_is_set_aside() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    try:
        settle()
        assert gc.get_freeze_count() > 1_000
        assert (
            len(gc.get_objects()) < gc.get_freeze_count()
        )  # garbage was collected before, not kept for ever
    finally:
        gc.unfreeze()

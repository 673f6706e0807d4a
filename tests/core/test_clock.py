"""What is held back for the last evaluation follows what a first look of it took."""

from __future__ import annotations

from core.clock import Clock


def test_a_slow_evaluation_gets_more_time_at_the_end_and_never_most_of_it() -> None:
    clock = Clock(0.1)
    clock.set_limit(0.1)
    usual = clock.reserve_s
    clock.hold_back(5.0)
    assert clock.reserve_s == usual, "a quick one needs no more than always"
    clock.hold_back(40.0)
    assert clock.reserve_s == 120.0
    clock.hold_back(1000.0)
    assert clock.reserve_s == 0.4 * 360
    assert clock.work_left_s <= 0.6 * 360


def test_a_second_look_on_a_warm_machine_gives_time_back() -> None:
    clock = Clock(0.2)
    clock.set_limit(0.2)
    usual = clock.reserve_s
    clock.hold_back(100.0)
    assert clock.reserve_s == 0.4 * 720
    assert clock.second_look_pays()
    clock.hold_back(40.0)
    assert clock.reserve_s == 120.0
    assert not clock.second_look_pays(), "another look would take more than it could give back"
    clock.set_limit(1.0)
    assert clock.reserve_s == 0.12 * 3600, "a new budget keeps what is known of the evaluation"
    clock.set_limit(0.1)
    assert clock.reserve_s == 120.0
    assert usual < 120.0

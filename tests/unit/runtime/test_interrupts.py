"""Ctrl-C at the worst moments leaves every switch as it was, and is never lost."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
from conftest import switch_values

import repro_magic
from repro_magic.runtime.interrupts import Guard, uninterrupted

STORM = """
import os, random, signal, threading, time
import torch, repro_magic
from repro_magic.determinism import applied, switches

torch.set_num_threads(1)
def values():
    return [switch.read() for switch in switches.SWITCHES[:8] if switch.present()]
before, handler = values(), signal.getsignal(signal.SIGINT)
small = torch.ones(40, 40)
armed = threading.Event()

def strike_once_a_round():
    for _ in range(400):
        armed.wait()
        armed.clear()
        time.sleep(random.random() * 0.003)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=strike_once_a_round).start()
leaked = 0
for _ in range(400):
    try:
        armed.set()
        while True:  # until the interrupt comes through: one that got lost would leave us here
            with repro_magic.deterministic(seed=1, threads=1, restore_rng=True):
                small @ small
    except KeyboardInterrupt:
        pass
    leaked += values() != before or bool(applied._active) or signal.getsignal(signal.SIGINT) is not handler
print(leaked)
"""


@pytest.mark.kernel
def test_no_interrupt_of_a_storm_leaves_a_switch_turned() -> None:
    """GIVEN interrupts at random moments of entering, body and leaving WHEN each struck THEN nothing is left on."""
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.split() == ["0"], done.stderr


class Struck:
    """`Struck() @ signal.SIGINT` is Ctrl-C within an operator: as no Python code runs in it, the next one notices."""

    __matmul__: Any = staticmethod(functools.partial(ctypes.CDLL(None).kill, os.getpid()))


def test_an_interrupt_within_an_operator_strikes_at_the_exit_and_all_is_back() -> None:
    """GIVEN Ctrl-C in an operator, after which our own exit is the next Python code THEN it waits for the exit."""
    before = switch_values(), signal.getsignal(signal.SIGINT)
    struck = Struck()
    with pytest.raises(KeyboardInterrupt), repro_magic.deterministic():
        struck @ signal.SIGINT
    assert (switch_values(), signal.getsignal(signal.SIGINT)) == before


def test_an_interrupt_in_the_body_is_raised_at_once() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), repro_magic.deterministic():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        seen.append("went on")
    assert seen == []


def test_an_interrupt_in_a_marked_function_waits_until_the_guard_is_down() -> None:
    steps = []

    @uninterrupted
    def careful() -> None:
        signal.raise_signal(signal.SIGINT)
        steps.append("finished")

    guard = Guard()
    guard.up()
    careful()
    assert guard.pending
    with pytest.raises(KeyboardInterrupt):
        guard.down()
    assert steps == ["finished"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_guards_may_end_in_any_order() -> None:
    before = signal.getsignal(signal.SIGINT)
    first, second, third = Guard(), Guard(), Guard()
    for guard in (first, second, third):
        guard.up()
    for guard in (second, first, third):
        guard.down()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_users_own_handler_is_kept_and_asked() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number))
    try:
        with repro_magic.deterministic():
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT, signal.SIGINT]


def test_a_handler_that_the_body_installs_stays() -> None:
    before = signal.getsignal(signal.SIGINT)

    def own(number: int, frame: object) -> None:
        """Nothing."""

    try:
        with repro_magic.deterministic():
            signal.signal(signal.SIGINT, own)
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_and_event_loops_work_as_ever() -> None:
    found = []

    def work() -> None:
        with repro_magic.deterministic():
            found.append(torch.are_deterministic_algorithms_enabled())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with repro_magic.deterministic():
        found.append(asyncio.run(asyncio.sleep(0, result=True)))
    assert found == [True, True]


def test_a_guard_can_hand_the_interrupt_over_instead() -> None:
    """GIVEN an interrupt that had to wait WHEN the guard steps back THEN it says so, and nothing is raised."""

    @uninterrupted
    def busy() -> None:
        signal.raise_signal(signal.SIGINT)

    guard = Guard()
    guard.up()
    busy()
    assert guard.step_back()
    assert not guard.step_back()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

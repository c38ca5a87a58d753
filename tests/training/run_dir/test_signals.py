from __future__ import annotations

import os
import signal
import threading

import pytest

from resnets.training.run_dir import signals


def test_signals_are_collected_and_the_previous_handlers_are_restored(capsys):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with signals.catch_signals() as received:
        assert received == []
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):  # as a launcher passes one Ctrl-C on
            os.kill(os.getpid(), number)
        assert received == [signal.SIGTERM, signal.SIGTERM, signal.SIGINT]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert capsys.readouterr().err.count("stopping after this step") == 1


def test_a_later_ctrl_c_ends_at_once(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", -1.0)
    with signals.catch_signals() as received:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(received) == 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_trains_without_handlers():
    seen = []

    def train() -> None:
        with signals.catch_signals() as received:
            seen.append(received)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [[]]


def test_a_signal_interrupts_a_repeatable_phase():
    received: list[int] = []
    items = signals.iterate_until_signal(received, range(9))
    assert [next(items), next(items)] == [0, 1]
    received.append(signal.SIGTERM)
    with pytest.raises(signals.Interrupted):
        next(items)

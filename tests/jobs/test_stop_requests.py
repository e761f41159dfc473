"""Requests to stop a run: the signals SIGINT and SIGTERM."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from megavid.jobs.stop_requests import stop_request, uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_sets_the_event_and_a_later_interrupt_raises(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_request() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(1)
        os.kill(os.getpid(), signal.SIGTERM)  # clusters and torchrun send it twice
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


def test_signals_are_ignored_while_files_are_finished() -> None:
    with stop_request() as stop:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(1)


def test_stop_requests_outside_the_main_thread_are_ignored() -> None:
    seen = []

    def run() -> None:
        with stop_request() as stop, uninterrupted():
            seen.append(stop.is_set())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False]

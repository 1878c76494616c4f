"""Jobs in threads of their own."""

import _thread
import threading

import pytest

from lamina.background import Background


def test_a_job_whose_waiting_was_interrupted_still_runs_and_can_be_waited_for():
    go, ended = threading.Event(), threading.Event()

    def job():
        go.wait()
        ended.set()

    background = Background(job, name="test", daemon=True)
    threading.Timer(0.1, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        background.wait()
    assert not background.done
    threading.Timer(0.1, go.set).start()
    background.wait()
    assert ended.is_set()
    assert background.done
    assert background.failure is None


def test_what_a_job_raises_is_kept():
    background = Background(lambda: 1 // 0, name="test")
    background.wait()
    assert isinstance(background.failure, ZeroDivisionError)

"""Order, bounds, errors and ends of work on several processes; each case in a process of its own, without threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from helpers import WAIT_S

PREAMBLE = """
import itertools, logging, os, signal, sys, threading, time
from edge.pictures.parallel import AHEAD
from edge.pictures.processes import in_order

def is_childless():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False
"""


def start(case: str, **kinds: object) -> subprocess.Popen[str]:
    # A pool of NumPy's would be a second thread.
    surroundings = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    program = PREAMBLE + textwrap.dedent(case)
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=surroundings,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **kinds,  # type: ignore[call-overload]
    )


def run(case: str) -> str:
    """Run a case to its end; its standard error."""
    with start(case) as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    return said


def test_answers_come_in_order_from_several_processes() -> None:
    run("""
        def make():
            def work(number):
                time.sleep(0.2 if number == 0 else 0.01)
                return number * number, os.getpid()
            return work
        answers = list(in_order(range(40), make, 3))
        assert [square for square, _ in answers] == [number * number for number in range(40)]
        pids = {pid for _, pid in answers}
        assert len(pids) == 3 and os.getpid() not in pids
        assert is_childless()
    """)


def test_one_item_needs_no_process() -> None:
    run("assert list(in_order([1], lambda: lambda item: (item, os.getpid()), 4)) == [(1, os.getpid())]")


def test_no_more_processes_are_started_than_there_are_items() -> None:
    run("""
        forks = []
        os.register_at_fork(before=lambda: forks.append(1))
        assert list(in_order([1, 2], lambda: lambda item: item, 8)) == [1, 2]
        assert len(forks) == 2
    """)


def test_beside_another_thread_threads_do_the_work() -> None:
    run("""
        other = threading.Thread(target=time.sleep, args=(2,), daemon=True)
        other.start()
        assert set(in_order(range(9), lambda: lambda item: os.getpid(), 2)) == {os.getpid()}
    """)


def test_no_more_is_taken_than_is_needed_soon() -> None:
    run("""
        taken = itertools.count()
        answers = in_order(taken, lambda: lambda number: number, 2)
        for expected in range(100):
            assert next(answers) == expected
        answers.close()
        assert next(taken) <= 100 + 2 * AHEAD + 1
        assert is_childless()
    """)


def test_an_error_takes_its_items_place_says_where_it_arose_and_leaves_no_process() -> None:
    said = run("""
        import traceback
        from edge.errors import InputError
        def work(number):
            if number == 3:
                raise InputError("three is too many")
            return number
        answers = in_order(range(100), lambda: work, 2)
        assert [next(answers) for _ in range(3)] == [0, 1, 2]
        try:
            next(answers)
            raise SystemExit("no error came")
        except InputError as error:
            assert str(error) == "three is too many"
            traceback.print_exception(error)
        assert is_childless()
    """)
    assert "in work" in said


def test_an_error_that_cannot_be_handed_over_is_told_in_words() -> None:
    run("""
        class Odd(Exception):
            def __init__(self, one, two):
                super().__init__(one)
        def work(number):
            raise Odd(1, 2)
        try:
            list(in_order(range(10), lambda: work, 2))
            raise SystemExit("no error came")
        except RuntimeError as error:
            assert "Odd(1)" in str(error)
        assert is_childless()
    """)


def test_a_tool_that_cannot_be_made_is_the_callers_to_know() -> None:
    run("""
        def make():
            raise RuntimeError("no tool")
        try:
            list(in_order(range(10), make, 2))
            raise SystemExit("no error came")
        except RuntimeError as error:
            assert "no tool" in str(error)
        assert is_childless()
    """)


def test_a_process_that_is_killed_is_told() -> None:
    run("""
        from edge.errors import LeukoscopeError
        def work(number):
            if number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return number
        try:
            list(in_order(range(100), lambda: work, 2))
            raise SystemExit("no error came")
        except LeukoscopeError as error:
            assert "memory" in str(error), error
        assert is_childless()
    """)


def test_what_is_logged_reaches_the_handlers_here() -> None:
    said = run("""
        logging.basicConfig(format="%(process)d %(name)s %(message)s", handlers=[logging.StreamHandler()])
        def work(number):
            if number == 7:
                try:
                    1 / 0
                except ZeroDivisionError:
                    logging.getLogger("reader").warning("of %s %s", "item", iter([1]), exc_info=True)
            return number
        assert len(list(in_order(range(20), lambda: work, 2))) == 20
    """)
    assert "reader of item <list_iterator" in said and "ZeroDivisionError" in said


def test_large_items_and_large_answers_do_not_wait_for_each_other() -> None:
    run("""
        items = (bytes([number]) * (1 << 21 if number % 3 else 10) for number in range(60))
        answers = list(in_order(items, lambda: lambda item: item * 2, 2))
        assert [len(answer) for answer in answers] == [(1 << 22) if n % 3 else 20 for n in range(60)]
        assert all(answer[0] == number for number, answer in enumerate(answers))
    """)


def test_an_interrupt_ends_all_of_them() -> None:
    process = start(
        """
        def work(number):
            time.sleep(0.05)
            return number
        try:
            for answer in in_order(itertools.count(), lambda: work, 2):
                print(answer, flush=True)
        except KeyboardInterrupt:
            assert is_childless()
            print("interrupted", file=sys.stderr)
        """,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0 and said == "interrupted\n", said


def test_processes_end_with_the_one_that_gives_them_items() -> None:
    process = start("""
        def work(number):
            return os.getpid()
        for answer in in_order(itertools.count(), lambda: work, 2):
            print(answer, flush=True)
    """)
    with process:
        assert process.stdout is not None
        pids = {int(process.stdout.readline()) for _ in range(40)}
        process.kill()
    patience = time.monotonic() + WAIT_S
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < patience
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False

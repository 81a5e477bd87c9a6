"""Several recordings at the same time, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from espnet_pse_kd.cli.batch import Job
from espnet_pse_kd.cli.batch_progress import BatchProgress
from espnet_pse_kd.cli.worker import Options, Worker, keep, tell_kept
from espnet_pse_kd.errors import UserError, named_files

if TYPE_CHECKING:
    from espnet_pse_kd.runtime.profile import Profile

_LOOK_SECONDS = 0.2
_STOPPED = 143  # status of a process that was told to end

Starter = tuple[str | None, int, "Profile", Options, list[Path]]
"""Of what a process makes its worker: model, threads, profile, options, inputs."""


class Attempt(NamedTuple):
    """What a process says of one recording.

    Attributes:
        out: what it printed.
        err: the same on standard error.
        error: what went wrong, or nothing.
        entry: of the JSON report.
    """

    out: str
    err: str
    error: str
    entry: dict[str, Any]


class _Reported(BatchProgress):
    """Sends the seconds that are done to the process that shows them."""

    def __init__(self, queue: Queue[float]) -> None:
        super().__init__(0.0, 1)
        self._queue = queue

    def add(self, seconds: float) -> None:
        self._queue.put(seconds)


def enhance_parallel(
    jobs: Sequence[Job],
    worker: Worker,
    starter: Starter,
    processes: int,
    progress: BatchProgress,
) -> tuple[list[Job], list[dict[str, Any]]]:
    """Enhance all files but those that an earlier run has finished.

    Args:
        jobs: what to do.
        worker: knows what is finished.
        starter: of the workers of the processes.
        processes: how many.
        progress: shows how far all of it is.

    Returns:
        What failed, errors being reported as they occur; and what the report says.
    """
    open_jobs = [job for job in jobs if not worker.finished(job)]
    for job in jobs:
        if job not in open_jobs:
            keep(job, progress)
    failed, entries = [], []
    context = multiprocessing.get_context("spawn")
    queue: Queue[float] = context.Queue()
    with _pool(context, processes, (starter, queue)) as pool:
        with _uninterrupted():
            futures = {pool.submit(_attempt, job): job for job in open_jobs}
        for future in _completed(futures, queue, progress):
            attempt = _result(future)
            progress.clear()
            print(attempt.out, end="")
            print(attempt.err, end="", file=sys.stderr)
            if attempt.error:
                print(f"error: {attempt.error}", file=sys.stderr)
                failed.append(futures[future])
            entries.append(attempt.entry)
    progress.clear()
    tell_kept(len(jobs) - len(open_jobs), len(jobs))
    order = {str(job.source): number for number, job in enumerate(jobs)}
    entries = sorted(filter(None, entries), key=lambda one: order[one["source"]])
    return sorted(failed, key=jobs.index), entries


@contextmanager
def _pool(
    context: multiprocessing.context.SpawnContext, processes: int, initargs: tuple
) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one, however it ends, and leave nothing behind."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, context, _start, initargs)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: this one does, and ends them.

    They inherit that the signal is blocked; here it waits until all have started.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _completed(
    futures: dict[Future[Attempt], Job], queue: Queue[float], progress: BatchProgress
) -> Iterator[Future[Attempt]]:
    left = set(futures)
    while left:
        done, left = wait(left, _LOOK_SECONDS, FIRST_COMPLETED)
        try:
            while True:
                progress.add(queue.get_nowait())
        except Empty:
            pass
        for future in done:
            progress.begin()
            yield future


def _result(future: Future[Attempt]) -> Attempt:
    try:
        return future.result()
    except BrokenProcessPool:
        raise UserError(
            "--jobs: a process was killed, perhaps for want of memory; try fewer, the "
            "same command goes on"
        ) from None


_worker: Worker | None = None  # of this process
_busy = False  # whether it has a file to tidy up


def _start(starter: Starter, queue: Queue[float]) -> None:
    """Make the worker of this process."""
    global _worker
    from espnet_pse_kd.enhancer import PersonalizedEnhancer

    model, threads, profile, options, inputs = starter
    enhancer = PersonalizedEnhancer.from_pretrained(model, threads)
    _worker = Worker(enhancer, profile, options, inputs, _Reported(queue))
    signal.signal(signal.SIGTERM, _terminate)  # until here there is nothing to tidy up


def _attempt(job: Job) -> Attempt:
    """Enhance one file; keep what would be printed."""
    global _busy
    assert _worker is not None
    out, err, error, entry = StringIO(), StringIO(), "", {}
    _busy = True
    try:
        with redirect_stdout(out), redirect_stderr(err), named_files():
            entry = _worker.enhance(job).entry
    except UserError as found:
        error = str(found)
    except SystemExit:  # by now its file is gone; the pool would go on
        os._exit(_STOPPED)
    _busy = False
    return Attempt(out.getvalue(), err.getvalue(), error, entry)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind what is being done; between two files there is nothing to unwind."""
    if _busy:
        sys.exit(_STOPPED)
    os._exit(_STOPPED)

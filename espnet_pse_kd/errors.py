"""The error a user can mend, and how a command reports it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """Input that the user can correct.

    The message is one line. It names the file or option, the value found, and
    the remedy, in that order. What cannot be printed, such as line breaks and the
    control characters of terminals that a file's name may hold, is shown escaped.
    """

    def __init__(self, message: object = "") -> None:
        shown = (c if c.isprintable() else repr(c)[1:-1] for c in str(message))
        super().__init__("".join(shown))


def how_to_install(extra: str = "") -> str:
    """How to install the package, with what an ``extra`` of setup.py brings.

    The only place that says so: the package is on no index yet, so that its name there
    would be somebody else's.
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"from a checkout: pip install {what}"


@contextmanager
def named_files() -> Iterator[None]:
    """An `OSError` that names a file becomes a `UserError`.

    One without a name is not about a path: the disk is full, or a pipe is closed.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise UserError(
            f"{error.filename}: {error.strerror}; correct the path or its rights"
        ) from None


def one_line(main: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command's ``main``: a `UserError` becomes one line and exit status 2.

    A full disk is reported the same way, since the remedy is the user's as well.
    Every other exception keeps its traceback: it is our defect, not the user's.
    """

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            if error.errno not in (28, 122):  # ENOSPC, EDQUOT
                raise
            print(
                f"error: {error.filename or 'output'}: {error.strerror}; "
                "free some disk space and run the same command again, it resumes",
                file=sys.stderr,
            )
        sys.exit(2)

    return wrapped

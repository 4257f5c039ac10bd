"""Exporters of libraries talk a lot, on several channels; ours says what it does itself."""

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator

ERROR_OUTPUT = 2
"""The file descriptor: a C++ library does not know `sys.stderr`."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, no logging and no printing in this block; exceptions still rise."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


_one = threading.Lock()


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Nothing reaches the process's error output in this block, not even from a C++ library.

    For a library's first call, which tells of itself; its errors rise as exceptions.
    """
    sys.stderr.flush()
    with _one:  # else a second thread would keep the first one's silence
        try:
            kept = os.dup(ERROR_OUTPUT)
        except OSError:  # closed: there is nothing to hush
            yield
            return
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            try:
                os.dup2(nowhere.fileno(), ERROR_OUTPUT)
                yield
            finally:
                os.dup2(kept, ERROR_OUTPUT)
                os.close(kept)

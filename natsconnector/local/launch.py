"""Starts programs in a session of their own, so that they can be ended with whatever they have started."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from signal import SIGKILL, Signals

# Runs in the child before the program does. A session of its own is a process group of its own: a Ctrl-C in the
# terminal is ours to pass on, in our order, and a signal to the group reaches all of it. On Linux (prctl,
# PR_SET_PDEATHSIG) the program is also sent a signal when we die. Python itself may set LC_CTYPE (PEP 538).
_LAUNCHER = """\
import ctypes, os, sys
os.setsid()
parent, signal = map(int, sys.argv[1:3])
try:
    ctypes.CDLL(None).prctl(1, signal)
except (OSError, AttributeError):
    pass
os.environ.pop("LC_CTYPE", None)
if sys.argv[3]:
    os.environ["LC_CTYPE"] = sys.argv[3]
try:
    if os.getppid() == parent:
        os.execv(sys.argv[4], sys.argv[4:])
except OSError as error:
    sys.exit(f"cannot start {sys.argv[4]}: {error.strerror}")
"""


def in_session(command: Sequence[str], *, signal: Signals, ctype: str) -> list[str]:
    """
    What to start instead of ``command``. Its process id is also the id of the session and of its process group.

    :param command: the program's absolute path, and its arguments.
    :param signal: sent to the program, though not to its children, when we die without having ended it.
    :param ctype: what ``LC_CTYPE`` is in the environment that it is started with; empty if it is not in there.
    """
    start = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(int(signal)), ctype]
    return [*start, *command]


class Session:
    """
    A session that was started by ``in_session``.

    :param pid: of its first process.
    :ivar is_reaped: to be set when the first process has been waited for.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.is_reaped = False

    def has_members(self) -> bool:
        """Whether a process of it runs, or has ended and was not waited for."""
        return not self._is_over() and self._signal_group(0)

    def kill(self) -> None:
        """End every process in it, but those that have gone into sessions or groups of their own."""
        if self._is_over():
            return
        if not self.is_reaped:
            # The process first: its group is not there until the process has made its session.
            with suppress(ProcessLookupError):
                os.kill(self._pid, SIGKILL)
        self._signal_group(SIGKILL)

    def _is_over(self) -> bool:
        """Whether the process id belongs to somebody else: it is given away again when the session is empty."""
        if not self.is_reaped:
            return False
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def _signal_group(self, signal: int) -> bool:
        try:
            os.killpg(self._pid, signal)
        except ProcessLookupError:
            return False
        except PermissionError:
            # macOS says so of a group that has nothing but zombies.
            return False
        return True

"""``python -m faults.launched …``: the launcher, ``python -m launch …``, whose processes are forks of it.

Two runs of two processes would start Python four times otherwise, which is half of what such a round costs. What the
launcher does with its processes stays: their group, how they die with it, its pipes, signals and looks at them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from unittest import mock

from faults.processes import become
from launch.__main__ import main as launch


class _Fork:
    """What the launcher asks of ``subprocess.Popen``, of a fork that becomes ``python -m …``."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        preexec_fn: Callable[[], None] | None,
        process_group: int,
        **_streams: int,
    ) -> None:
        reader, writer = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os.setpgid(0, process_group)
            if preexec_fn is not None:
                preexec_fn()
            os.close(reader)
            become(command[2:], os.getcwd(), env, (writer, os.dup(writer)))
        os.close(writer)
        self.stdout = open(reader, "rb")

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


if __name__ == "__main__":
    forking = SimpleNamespace(**{**vars(subprocess), "Popen": _Fork})
    with mock.patch("launch.processes.subprocess", forking):
        sys.exit(launch())

"""Programs that are started for a while, each in a session of its own, so that all of it can be ended."""

import os
import signal
import socket
import subprocess
import time
import urllib.request

START_SECONDS_MAX = 30
END_SECONDS_MAX = 10


class Refused(Exception):
    """What could not be had or started: why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(address):
    """Says whether a server of tollwatch's is ready."""
    try:
        return urllib.request.urlopen(f"http://{address}/readyz", timeout=2).status == 200
    except OSError:
        return False


class Child:
    """A running program; what it says goes to `NAME.out` and `NAME.err` in `folder`."""

    def __init__(self, command, folder, name, environment=None, out=None):
        self.name, self.err = name, folder / f"{name}.err"
        with open(out or folder / f"{name}.out", "ab") as out, open(self.err, "ab") as err:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment or os.environ, cwd=folder,
                start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def runs(self):
        return self.process.poll() is None

    def await_port(self, port):
        """Returns when something listens on `port` of loopback."""

        def listens():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False

        self.await_that(listens, "does not serve")

    def await_that(self, holds, otherwise, seconds_max=START_SECONDS_MAX):
        until = time.monotonic() + seconds_max
        while not holds():
            if not self.runs() or time.monotonic() > until:
                self.end()
                raise SystemExit(f"{self.name} {otherwise}:\n{self.told()}")
            time.sleep(0.1)

    def told(self):
        return self.err.read_text(errors="replace")[-2000:]

    def kill(self):
        """As a machine that loses its power would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        # The group has only what this process started.
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(END_SECONDS_MAX)
                return
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

"""A nats-server whose configuration changes while it runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from natsconnector.local.nats_server import NatsServer, find_nats_server


class ReloadingServer:
    """
    A nats-server with a configuration file that stays, and is read again on request.

    ``NatsServer`` removes its file when the server listens; so the file is given by a script in its place.

    :param folder: for the two files; absolute.
    """

    def __init__(self, reactor: Any, folder: Path, port: int, config_text: str) -> None:
        self._config = folder / "server.conf"
        self._config.write_text(config_text)
        launcher = folder / "nats-server"
        launcher.write_text(
            f"#!{sys.executable} -IS\n"
            f"import os, sys\n"
            f"binary = {os.fspath(find_nats_server())!r}\n"
            f"os.execv(binary, [binary, *sys.argv[1:], '-c', {os.fspath(self._config)!r}])\n"
        )
        launcher.chmod(0o755)
        self.server = NatsServer(reactor, port=port, binary=os.fspath(launcher))

    def reload(self, config_text: str) -> None:
        """Have the server take another configuration; what it says then tells when it has."""
        self._config.write_text(config_text)
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGHUP)

"""The unit of systemd: its command and its settings are those of the connector."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from natsconnector.config.options import Options
from natsconnector.config.reading import read
from natsconnector.config.settings import FLAGS

SYSTEMD = Path(__file__).parents[2] / "deployment" / "systemd"
UNIT = SYSTEMD / "natsconnector.service"


def lines_of(path: Path) -> list[str]:
    """The settings of a file, those too that a reader may take the comment sign from."""
    return re.findall(r"^#?(\w+=.*)$", path.read_text(), re.MULTILINE)


class SystemdTests(SynchronousTestCase):
    """deployment/systemd."""

    def test_environment(self) -> None:
        """Each variable is a setting, and all of them together are a configuration that can work."""
        environment = dict(line.split("=", 1) for line in lines_of(SYSTEMD / "natsconnector.env"))
        self.assertGreater(len(environment), 4)
        known = {name for flag in FLAGS for name in flag.environment_names}
        named = {name for line in lines_of(UNIT) for name in re.findall(r"^Environment=(NATSCONNECTOR_\w+)", line)}
        self.assertEqual({*environment} - known | named - known, set())
        options = Options()
        options.environment = environment
        options.parseOptions([])

    def test_commands(self) -> None:
        """Each command runs twistd with the connector, and no flag that it does not know."""
        commands = [line.removeprefix("ExecStart=") for line in lines_of(UNIT) if re.match("ExecStart=.", line)]
        self.assertEqual(len(commands), 2)
        for command in commands:
            program, *flags, name = shlex.split(command)
            self.assertEqual((Path(program).name, name), ("twistd", "natsconnector"))
            self.assertLessEqual({flag.partition("=")[0] for flag in flags}, {"--nodaemon", "--pidfile", "--logfile"})

    def test_time_to_stop(self) -> None:
        """systemd waits longer than the connector takes."""
        stop_s = int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)[0])
        self.assertGreater(stop_s, read({}, {}).shutdown_timeout_s + 5)

    def test_verify(self) -> None:
        """systemd, where it is installed, understands every line."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("there is no systemd-analyze")
        unit = Path(self.mktemp())
        unit.mkdir()
        unit /= UNIT.name
        unit.write_text(UNIT.read_text().replace("/opt/natsconnector/bin/twistd", sys.executable))
        result = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
        told = [line for line in result.stderr.splitlines() if UNIT.name in line]
        self.assertEqual(told, [])

"""What holds for every way of deploying, and must be said of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.config import reading, settings

ROOT = Path(__file__).parent.parent.parent
KNOWN_NAMES = {flag.environment_name for flag in settings.FLAGS} | {a.name for f in settings.FLAGS for a in f.aliases}
KEYS = "NATSCONNECTOR_CALLBACK_KEY_FILE"
# What ending takes beyond the shutdown timeout: the last answers are flushed, connections closed.
LAST_MOMENTS_S = 5.0

# The first in which a disruption budget lets pods be evicted that do not work, one in between, and the newest.
VERSIONS = ("1.27", "1.32", kubernetes_validate.latest_version())


def text(path: str) -> str:
    return (ROOT / path).read_text()


def assert_valid(objects: list[dict[str, Any]]) -> None:
    """Fails unless an API server takes them, old or new: no unknown field, no wrong type."""
    for version in VERSIONS:
        for manifest in objects:
            kubernetes_validate.validate(manifest, version, strict=True)


def mounted_paths(pod: dict[str, Any], container: dict[str, Any]) -> set[str]:
    """Where a container has volumes; each has to be one of the pod's, and each of those has to be mounted."""
    mounts = container.get("volumeMounts", [])
    if {mount["name"] for mount in mounts} != {volume["name"] for volume in pod.get("volumes", [])}:
        raise AssertionError("a mount without a volume, or a volume without a mount")
    return {mount["mountPath"] for mount in mounts}


class AgreementCase(SynchronousTestCase):
    """What holds for every way of deploying."""

    def assertEnvironment(self, environment: Mapping[str, str], grace_s: float) -> settings.Settings:
        """The settings take all of it without a complaint, and leave time to end in."""
        for name, value in environment.items():
            self.assertIsInstance(value, str, f"{name}: quote it, YAML takes it for something else")
        self.assertLessEqual(set(environment), KNOWN_NAMES)
        # Files of secrets are there only where it is deployed. Results need one.
        given = {name: value for name, value in environment.items() if not value.startswith("/")}
        if KEYS in environment:
            given[KEYS] = self.mktemp()
            Path(given[KEYS]).write_text("k" * 32)
        read = reading.read({}, given)
        self.assertEqual(read.warnings, ())
        self.assertGreaterEqual(grace_s, read.shutdown_timeout_s + LAST_MOMENTS_S)
        return read

    def assertSecretsMounted(self, environment: Mapping[str, str], folders: set[str]) -> None:
        """Files of secrets that a setting names are where the deployment puts them, and no secret is there unread."""
        paths = [Path(value) for value in environment.values() if value.startswith("/")]

        def agree(path: Path, folder: str) -> bool:
            return path.is_relative_to(folder) or Path(folder).is_relative_to(path)

        for path in paths:
            self.assertTrue(any(agree(path, folder) for folder in folders), f"nothing is mounted at {path}")
        for folder in folders:
            self.assertTrue(any(agree(path, folder) for path in paths), f"nothing reads {folder}")

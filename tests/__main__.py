"""
Runs the tests with trial, in random order and side by side, and ends with a line that counts them:
``python -m tests [NAME...]``. ``JOBS=1`` runs them one after the other.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile


def main(names: list[str]) -> int:
    """Run the named tests, or all; the exit code is trial's."""
    folder = tempfile.mkdtemp(prefix="natsconnector-tests-")
    trial = [sys.executable, "-Wdefault", "-m", "twisted.trial", "--random=0", f"--temp-directory={folder}/trial"]
    jobs = os.environ.get("JOBS", "4")
    if jobs != "1":
        trial.append(f"--jobs={jobs}")
    counts: dict[str, int] = {}
    with subprocess.Popen([*trial, *(names or ["tests"])], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            # trial's own last line: PASSED (skips=1, successes=12)
            if re.match(r"(PASSED|FAILED)\b", line):
                counts = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}
    passed = counts.get("successes", 0) + counts.get("expectedFailures", 0)
    failed = sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    if process.returncode and not failed:
        failed = 1  # it ended before it could count
    skipped = f", {counts['skips']} skipped" if "skips" in counts else ""
    print(f"{passed} passed, {failed} failed{skipped}")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

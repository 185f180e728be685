"""Tests of progress shown to people."""

from __future__ import annotations

import io

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from natsconnector.commands.progress import Progress


class Terminal(io.StringIO):
    """What a terminal shows is what was written."""

    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    """A bar where somebody looks at it."""

    def test_terminal(self) -> None:
        """It is drawn over itself, at the end and now and then; lines stay above it."""
        clock, terminal = Clock(), Terminal()
        progress = Progress(clock, terminal, 4)
        progress.step("1 done")
        progress.step("2 done")
        clock.advance(0.1)
        progress.step("3 done")
        progress.line("look here")
        progress.step("4 done")
        shown = terminal.getvalue()
        self.assertIn("25% 1/4 1 done", shown)
        self.assertNotIn("2/4", shown)
        self.assertIn("75% 3/4 3 done", shown)
        self.assertTrue(shown.endswith("[##############################] 100% 4/4 4 done"), shown)
        before, after = shown.split("look here\n")
        self.assertTrue(before.endswith(" \r"), before)
        self.assertTrue(after.startswith("\r"), after)

    def test_more_than_expected(self) -> None:
        """A total that was too small, or nothing, does no harm."""
        for total in (0, 1):
            terminal = Terminal()
            progress = Progress(Clock(), terminal, total)
            progress.step("a")
            progress.step("b")
            self.assertIn("100%", terminal.getvalue())

    def test_file(self) -> None:
        """Elsewhere only the lines are written."""
        output = io.StringIO()
        progress = Progress(Clock(), output, 2)
        progress.step("a")
        progress.line("a line")
        progress.step("b")
        self.assertEqual(output.getvalue(), "a line\n")

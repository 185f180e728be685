"""The examples of the documentation do what it says."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from twisted.internet.utils import getProcessOutputAndValue

from tests.integration.nats_case import NatsTestCase, reactor

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)


class DocsTests(NatsTestCase):
    """docs/nats-client.md."""

    async def test_examples(self) -> None:
        """Each program runs as it stands, and prints what stands below it."""
        server = await self.server(jetstream_dir=self.mktemp())
        page = (ROOT / "docs" / "nats-client.md").read_text()
        examples = EXAMPLE.findall(page)
        self.assertEqual(len(examples), page.count("```python"))
        for code, output in examples:
            code = code.replace("nats://127.0.0.1:4222", server.url)
            out, err, status = await getProcessOutputAndValue(
                sys.executable, ["-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, reactor=reactor
            )
            self.assertEqual((out.decode(), err.decode(), status), (output, "", 0))

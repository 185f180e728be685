"""Whoever may publish into a stream uses the connector's rights for nothing but calls and the answers to them."""

from __future__ import annotations

from natsconnector.nats import Msg
from tests.integration.support import Recorded, envelope
from tests.integration.test_jetstream import StreamCase

# Never published to, whatever --reply-allow says.
NEVER = (
    "function.call", "function.other", "dead", "$JS.API.STREAM.PURGE.DEAD", "$JS.ACK.CALLS.natsconnector.1.1.1.1.1",
    "$SYS.REQ.SERVER.PING", "$KV.CONFIG.colour", "function.*", ">", "_INBOX.>", "admin..exec", "admin." + "x" * 1025,
)  # fmt: skip


class ReplySubjectTests(StreamCase):
    """X-Reply-Subject of messages in a stream; the function answers with such headers of its own besides."""

    async def answered(self, subjects: tuple[str, ...], *flags: str) -> list[tuple[str, bytes]]:
        """Where which answers went, once a message with each of these reply subjects, and one more, has ended."""

        def respond(recorded: Recorded) -> None:
            more = {"X-Reply-Subject": "admin.exec", "X-Callback-Url": "http://127.0.0.1:1/"}
            self.gateway.answer(recorded, 200, recorded.body, **more)

        self.gateway.respond = respond
        connector = await self.taking("--subject", "function.*", "--dead-letter", "dead", *flags)
        heard: list[Msg] = []
        inbox = self.client.new_inbox()
        for subject in ("admin.>", "function.>", "dead", "$JS.API.STREAM.PURGE.>", "$SYS.>", "$KV.>", inbox):
            self.client.subscribe(subject, heard.append)
        for number, subject in enumerate((*subjects, inbox)):
            headers = {"X-Reply-Subject": subject}
            await self.js.publish("function.call", envelope(str(number)), headers=headers)
        await self.when_settled()
        await connector.stop()
        # All that the connector has published comes before this.
        await self.client.flush()
        self.assertEqual(set(self.gateway.count().values()), {1}, "nothing went round")
        self.assertEqual((await self.js.stream("DEAD"))["state"]["messages"], 0)
        answers = [msg for msg in heard if b"function" not in msg.payload]
        self.assertFalse(
            [msg for msg in answers for name in ("X-Reply-Subject", "X-Callback-Url") if name in msg.headers]
        )
        self.assertIn((inbox, str(len(subjects)).encode()), [(msg.subject, msg.payload) for msg in answers])
        return [(msg.subject, msg.payload) for msg in answers if msg.subject != inbox]

    async def test_default(self) -> None:
        """Only inboxes are answered: neither what others listen on, nor what the connector itself does."""
        self.assertEqual(await self.answered(("admin.exec", *NEVER)), [])

    async def test_everything_allowed(self) -> None:
        """With all allowed, never its own subjects, dead letters, the server's, or what is no subject."""
        answered = await self.answered(("admin.exec", *NEVER), "--reply-allow", ">")
        self.assertEqual(answered, [("admin.exec", b"0")])

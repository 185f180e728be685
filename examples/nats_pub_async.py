"""
Calls a function asynchronously, by a message: the result comes to a callback URL, where this program waits for it.

    python examples/nats_pub_async.py [--nats URL] [--callback-url URL] [FUNCTION [BODY]]

With ``--callback-url`` somebody else is called back, and the program ends when the call is accepted.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from natsconnector.nats import NatsClient, NatsError


class Callback(Resource):
    """Takes the one callback."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.when_called: Deferred[str] = Deferred()

    def render_POST(self, request: Request) -> bytes:
        names = ("X-Call-Id", "X-Function-Name", "X-Function-Status", "X-Duration-Seconds")
        headers = "".join(f"{name}: {request.getHeader(name.lower())}\n" for name in names)
        assert request.content is not None
        if not self.when_called.called:
            self.when_called.callback(f"{headers}\n{request.content.read().decode()}")
        return b""


async def call(reactor: Any, nats: str, callback_url: str | None, function: str, body: str) -> None:
    callback = Callback()
    port = None
    if callback_url is None:
        port = reactor.listenTCP(0, Site(callback), interface="127.0.0.1")
        callback_url = f"http://127.0.0.1:{port.getHost().port}/example"
    client = NatsClient(reactor, [nats], name="nats_pub_async")
    client.start()
    accepted = False
    try:
        await client.when_ready().addTimeout(5.0, reactor)
        message = {"function": function, "params": {"callback_url": callback_url, "body": body}}
        answer = await client.request("function.call", json.dumps(message).encode(), timeout_s=60.0)
        if error := answer.headers.get("Nats-Service-Error"):
            sys.exit(f"failed with {answer.headers.get('Nats-Service-Error-Code')}: {error}")
        accepted = True
        print(f"accepted, call id {answer.headers.get('X-Call-Id')}")
        if port is not None:
            print(f"called back:\n{await callback.when_called.addTimeout(60.0, reactor)}")
    except NatsError as e:
        sys.exit(f"no answer: {e}")
    except TimeoutError:
        sys.exit("not called back within 60 s" if accepted else f"no connection to NATS: {client.last_error}")
    finally:
        await client.close()
        if port is not None:
            await port.stopListening()


def main(reactor: Any) -> Deferred[None]:
    parser = argparse.ArgumentParser(description="Calls a function asynchronously, by a message.")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("--callback-url", help="where the result goes; unset: here, to be printed")
    parser.add_argument("function", nargs="?", default="figlet")
    parser.add_argument("body", nargs="?", default="Hello World")
    got = parser.parse_args()
    return Deferred.fromCoroutine(call(reactor, got.nats, got.callback_url, got.function, got.body))


if __name__ == "__main__":
    react(main)

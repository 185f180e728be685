"""
Calls a function synchronously, by a message, and prints its answer.

    python examples/nats_pub.py [--nats URL] [FUNCTION [BODY]]
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import react

from natsconnector.nats import NatsClient, NatsError


async def call(reactor: Any, nats: str, function: str, body: str) -> None:
    client = NatsClient(reactor, [nats], name="nats_pub")
    client.start()
    try:
        await client.when_ready().addTimeout(5.0, reactor)
        message = json.dumps({"function": function, "params": {"body": body}}).encode()
        answer = await client.request("function.call", message, timeout_s=60.0)
    except NatsError as e:
        sys.exit(f"no answer: {e}")
    except TimeoutError:
        sys.exit(f"no connection to NATS: {client.last_error}")
    finally:
        await client.close()
    if error := answer.headers.get("Nats-Service-Error"):
        sys.exit(f"failed with {answer.headers.get('Nats-Service-Error-Code')}: {error}")
    print(answer.payload.decode())


def main(reactor: Any) -> Deferred[None]:
    parser = argparse.ArgumentParser(description="Calls a function synchronously, by a message.")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("function", nargs="?", default="figlet")
    parser.add_argument("body", nargs="?", default="Hello World")
    arguments = parser.parse_args()
    return Deferred.fromCoroutine(call(reactor, arguments.nats, arguments.function, arguments.body))


if __name__ == "__main__":
    react(main)

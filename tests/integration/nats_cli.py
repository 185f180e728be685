"""
What documented commands of the ``nats`` command line do, where that is not installed: of its commands and flags those
that the documents use, and no other. The tests run it as ``nats``.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from twisted.internet.task import react

from natsconnector.nats import NatsClient
from natsconnector.nats.jetstream import JetStream


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("nats", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("pub", "request"):
        command = commands.add_parser(name, allow_abbrev=False)
        command.add_argument("subject")
        command.add_argument("body")
        command.add_argument("-H", action="append", default=[], dest="headers")
        if name == "request":
            command.add_argument("--timeout", required=True)
            command.add_argument("--raw", action="store_true")
    stream = commands.add_parser("stream").add_subparsers(dest="verb", required=True)
    add = stream.add_parser("add", allow_abbrev=False)
    add.add_argument("name")
    add.add_argument("--subjects", required=True)
    add.add_argument("--retention", choices=("limits", "work", "interest"), default="limits")
    add.add_argument("--discard", choices=("old", "new"), default="old")
    add.add_argument("--defaults", action="store_true", required=True)
    return parser.parse_args()


async def _main(reactor: Any, arguments: argparse.Namespace) -> None:
    client = NatsClient(reactor, [os.environ.get("NATS_URL", "nats://127.0.0.1:4222")])
    client.start()
    await client.when_ready(20.0)
    if arguments.command == "stream":
        retention = arguments.retention.replace("work", "workqueue")
        stream = {"name": arguments.name, "subjects": [arguments.subjects], "retention": retention}
        await JetStream(client).create_stream({**stream, "discard": arguments.discard})
        print(f"Stream {arguments.name} was created")
    else:
        headers = [(name, value) for name, _, value in (each.partition(":") for each in arguments.headers)]
        if arguments.command == "pub":
            client.publish(arguments.subject, arguments.body.encode(), headers=headers)
            await client.flush()
        else:
            answer = await client.request(arguments.subject, arguments.body.encode(), headers=headers, timeout_s=60)
            print(answer.payload.decode())
    await client.close()


if __name__ == "__main__":
    react(_main, [_arguments()])

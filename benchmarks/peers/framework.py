"""The same with a framework: FastStream. ``python framework.py NATS GATEWAY INFLIGHT``."""

import asyncio
import sys
from typing import Any

import aiohttp
import uvloop
from faststream import FastStream
from faststream.nats import NatsBroker, NatsResponse

servers, gateway, inflight = sys.argv[1], sys.argv[2], int(sys.argv[3])
broker = NatsBroker(servers, pending_size=64 << 20, logger=None)
app = FastStream(broker, logger=None)
session: aiohttp.ClientSession


@broker.subscriber("function.call", queue="functions", max_workers=inflight, pending_msgs_limit=-1)
async def take(envelope: dict[str, Any]) -> NatsResponse:
    body = envelope.get("params", {}).get("body", "").encode()
    headers = {"Content-Type": "text/plain"}
    async with session.post(f"{gateway}/function/{envelope['function']}", data=body, headers=headers) as reply:
        answer = await reply.read()
    # It is published where the message has a reply subject.
    return NatsResponse(answer, headers={"X-Function-Status": str(reply.status)})


@app.on_startup
async def open_session() -> None:
    global session
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=inflight))


@app.after_startup
async def tell() -> None:
    print("ready", flush=True)


uvloop.install()
asyncio.run(app.run())

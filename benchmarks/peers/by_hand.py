"""What one would write by hand: nats-py, aiohttp and uvloop. ``python by_hand.py NATS GATEWAY INFLIGHT [STREAM]``."""

import asyncio
import json
import sys

import aiohttp
import nats
import uvloop


async def main(servers: str, gateway: str, inflight: int, stream: str | None) -> None:
    slots = asyncio.Semaphore(inflight)
    tasks: set[asyncio.Task[None]] = set()
    connector = aiohttp.TCPConnector(limit=inflight)
    async with aiohttp.ClientSession(connector=connector) as session:
        client = await nats.connect(servers, pending_size=64 << 20)

        async def call(msg: nats.aio.msg.Msg) -> None:
            try:
                envelope = json.loads(msg.data)
                body = envelope.get("params", {}).get("body", "").encode()
                headers = {"Content-Type": "text/plain"}
                async with session.post(
                    f"{gateway}/function/{envelope['function']}", data=body, headers=headers
                ) as reply:
                    answer = await reply.read()
                if stream is not None:
                    await msg.ack()
                elif msg.reply:
                    await client.publish(msg.reply, answer, headers={"X-Function-Status": str(reply.status)})
            finally:
                slots.release()

        async def take(msg: nats.aio.msg.Msg) -> None:
            await slots.acquire()
            task = asyncio.ensure_future(call(msg))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        if stream is None:
            await client.subscribe("function.call", "functions", cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
            await client.flush()
            print("ready", flush=True)
            await asyncio.Event().wait()
        pull = await client.jetstream().pull_subscribe("function.call", "peer", stream)
        print("ready", flush=True)
        while True:
            try:
                for msg in await pull.fetch(inflight, timeout=1):
                    await take(msg)
            except nats.errors.TimeoutError:
                pass


uvloop.install()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None))

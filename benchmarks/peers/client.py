"""nats-py as a client: ``python client.py receive|publish NATS NUMBER``; prints seconds and CPU seconds."""

import asyncio
import json
import sys
import time

import nats
import uvloop


async def main(what: str, server: str, number: int) -> None:
    client = await nats.connect(server, pending_size=64 << 20)
    began = [0.0, 0.0]
    if what == "receive":
        done: asyncio.Event = asyncio.Event()
        seen = 0

        async def take(msg: nats.aio.msg.Msg) -> None:
            nonlocal seen
            if not seen:
                began[:] = time.perf_counter(), time.process_time()
            seen += 1
            if seen == number:
                done.set()

        await client.subscribe("bench", cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await client.flush()
        print("ready", flush=True)
        await done.wait()
    else:
        payload = b"x" * 100
        print("ready", flush=True)
        began[:] = time.perf_counter(), time.process_time()
        for position in range(number):
            await client.publish("bench", payload)
            if position % 10_000 == 9_999:
                await client.flush(60)
    print(json.dumps([time.perf_counter() - began[0], time.process_time() - began[1]]), flush=True)
    await client.close()


uvloop.install()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

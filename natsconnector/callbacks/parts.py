"""The parts of this room, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from natsconnector.callbacks.keys import Keys
from natsconnector.callbacks.listener import Listener
from natsconnector.callbacks.receiver import Receiver, Told
from natsconnector.callbacks.sealing import Sealing
from natsconnector.messages.results import Results
from natsconnector.reactors import Reactor


def callback_parts(
    reactor: Reactor,
    results: Results,
    told: Told,
    *,
    endpoint: str,
    address: str,
    read_keys: Callable[[], Sequence[bytes]],
    lifetime_s: float,
    max_result_bytes: int,
) -> tuple[Sealing, Listener]:
    """
    What makes callback URLs, and what listens there.

    :param endpoint: where to listen; :param address: how the gateway's queue-worker reaches that.
    :param read_keys: gives the keys of the file as they are now.
    :param lifetime_s: how long a result may take.
    :param max_result_bytes: beside the limit of the NATS server.
    :raises ValueError: the keys cannot be used.
    """
    keys = Keys(reactor, read_keys)
    receiver = Receiver(reactor, urlsplit(address).path, keys, results, told, now_s=time.time)
    listener = Listener(
        reactor,
        receiver,
        endpoint=endpoint,
        max_body_bytes=lambda: min(max_result_bytes, results.max_bytes),
        over=told.finish,
    )
    return Sealing(address, keys, results, lifetime_s=lifetime_s, now_s=time.time), listener

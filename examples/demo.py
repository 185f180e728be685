"""
The main job on one machine: starts the connector with a nats-server and a local gateway of its own, sends it the
synchronous and the asynchronous message, and shows the answers.

    python examples/demo.py [--once]
"""

from __future__ import annotations

import argparse
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def port(wanted: int) -> int:
    """``wanted``, or any free port if that one is taken."""
    for number in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no free port")


def say(text: str) -> None:
    print(f"\n--- {text}", flush=True)


def run(*command: str | Path) -> None:
    """Run a program of the examples and end the demo with it if it fails."""
    print("$ " + " ".join(str(word) for word in command), flush=True)
    subprocess.run([sys.executable, *command], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows the main job with a nats-server and a gateway of its own.")
    parser.add_argument("--once", action="store_true", help="end by itself instead of running until Ctrl-C")
    once = parser.parse_args().once
    nats, gateway = f"nats://127.0.0.1:{port(4222)}", f"http://127.0.0.1:{port(8080)}"
    admin = port(8081)
    stack = str(HERE / "stack.yml")
    command = ["natsconnector", "--embedded", "--functions", stack, "--nats", nats, "--gateway", gateway]
    command += ["--admin", f"tcp:{admin}:interface=127.0.0.1"]
    say(f"starting: twistd -n {' '.join(command)}")
    # A session of its own: Ctrl-C is for this program, which then ends the connector in good order.
    connector = subprocess.Popen(
        [BIN / "twistd", "-n", *command], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    # So that it does not stay behind however this program is ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        assert connector.stdout is not None
        for line in connector.stdout:
            print(line, end="", flush=True)
            if re.search(r"\] natsconnector ready", line):
                break
        else:
            return connector.wait() or 1
        try:
            say("the synchronous message: its answer is the reply")
            run(HERE / "nats_pub.py", "--nats", nats)
            say("the asynchronous message: its answer is a callback")
            run(HERE / "nats_pub_async.py", "--nats", nats)
        except subprocess.CalledProcessError as e:
            return e.returncode
        if once:
            return 0
        say("it runs on until Ctrl-C; in another terminal, try:")
        print(f"  {BIN}/python {HERE}/nats_pub.py --nats {nats} cat 'any text'")
        print(f'  nats --server {nats} request function.call \'{{"function":"figlet","params":{{"body":"hi"}}}}\'')
        print(f"  curl -d hello {gateway}/function/figlet")
        print(f"  curl http://127.0.0.1:{admin}/metrics")
        print(f"  and look at http://127.0.0.1:{admin}/ in a browser", flush=True)
        for line in connector.stdout:
            print(line, end="", flush=True)
        return connector.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        connector.send_signal(signal.SIGTERM)
        if connector.stdout is not None:
            sys.stdout.write(connector.stdout.read())
        connector.wait()


if __name__ == "__main__":
    sys.exit(main())

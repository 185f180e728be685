"""The processes of a measurement: a nats-server, a gateway that answers at once, and the connector or a peer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from natsconnector.local.nats_server import find_nats_server

HERE = Path(__file__).parent
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")

_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
{modules}
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body; client_max_body_size 64m;
    client_body_buffer_size 2m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        default_type text/plain;
        location = /healthz {{ return 200 "OK"; }}
        location = /status {{ stub_status; }}
        location = /system/namespaces {{ return 200 '["openfaas-fn"]'; }}
        location = /system/functions {{ alias {folder}/functions.json; }}
        location ~ ^/(async-)?function/ {{
            add_header X-Start-Time 1700000000000000000;
            {answer}
        }}
    }}
}}
"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Process:
    """A process that is ended with the block it is used in."""

    def __init__(self, *argv: str, ready: str | None = None, cwd: str | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONUNBUFFERED": "1"}
        # A file, not a pipe: nobody reads while a measurement runs.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        self._process = subprocess.Popen(argv, stdout=self._output, stderr=subprocess.STDOUT, env=environment, cwd=cwd)
        if ready is not None:
            self._wait_for(ready)

    def _wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text.encode() not in (seen := os.pread(self._output.fileno(), 65536, 0)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"{self._process.args!r} is not ready: {seen.decode(errors='replace')}")
            time.sleep(0.02)

    @property
    def cpu_s(self) -> float:
        """CPU seconds used so far, in user and kernel mode."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICKS_S

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def result(self) -> list[float]:
        """What a client prints as its last line, once it has; blocks until it has ended."""
        self._process.wait(300)
        said = os.pread(self._output.fileno(), 65536, 0).decode()
        found: list[float] = json.loads(said.splitlines()[-1])
        return found

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


class Nats:
    """A nats-server, with JetStream."""

    def __enter__(self) -> str:
        self._folder = tempfile.mkdtemp(prefix="natsconnector-bench-")
        port = free_port()
        argv = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", self._folder]
        self._process = Process(os.fspath(find_nats_server()), *argv, ready="Server is ready")
        return f"nats://127.0.0.1:{port}"

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)
        shutil.rmtree(self._folder, ignore_errors=True)


class Gateway:
    """
    An nginx that answers every call after ``delay_ms``, and counts them.

    :param functions: how many functions it lists, each with a topic of its own, t.0 and so on.
    """

    def __init__(self, delay_ms: float = 0, functions: int = 0) -> None:
        self._delay_ms = delay_ms
        self._functions = functions

    def __enter__(self) -> Gateway:
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        module = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
        if nginx is None or not module.exists():
            raise SystemExit("the benchmark's gateway is an nginx: apt-get install nginx-light libnginx-mod-http-echo")
        self._folder = tempfile.mkdtemp(prefix="natsconnector-bench-")
        self._port = free_port()
        answer = 'return 200 "done";'
        if self._delay_ms:
            answer = f'echo_read_request_body; echo_sleep {self._delay_ms / 1000}; echo -n "done";'
        listed = [
            {"name": f"f{number}", "namespace": "openfaas-fn", "annotations": {"topic": f"t.{number}"}}
            for number in range(self._functions)
        ]
        Path(self._folder, "functions.json").write_text(json.dumps(listed))
        # Its workers run as another user.
        os.chmod(self._folder, 0o755)
        config = Path(self._folder, "nginx.conf")
        config.write_text(
            _NGINX.format(folder=self._folder, port=self._port, answer=answer, modules=f"load_module {module};")
        )
        self._process = Process(nginx, "-p", self._folder, "-c", str(config))
        deadline = time.monotonic() + 10
        while True:
            try:
                self.count()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def count(self) -> int:
        """How many requests it has answered, those for this number included."""
        with urllib.request.urlopen(f"{self.url}/status", timeout=10) as reply:
            return int(reply.read().split(b"\n")[2].split()[2])

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)
        shutil.rmtree(self._folder, ignore_errors=True)


_WIDE = ("--max-pending-messages", "2000000", "--max-pending-bytes", "2GiB")


def subject(
    name: str,
    nats: str,
    gateway: str,
    inflight: int,
    stream: str | None = None,
    bounds: tuple[str, ...] = _WIDE,
    admin: str = "none",
    more: tuple[str, ...] = (),
) -> Process:
    """
    Start the connector, or a peer, that takes ``function.call`` to a gateway.

    :param bounds: flags of the connector for its backlog, which is wide where calls are counted: none is shed then.
    :param admin: where the connector can be asked about itself; ``more``: further flags of its.
    """
    if name == "natsconnector":
        flags = ["--nats", nats, "--gateway", gateway, "--max-inflight", str(inflight), "--admin", admin]
        flags += [*bounds, *more]
        if stream is not None:
            flags += ["--stream", stream, "--dead-letter", "none"]
        twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
        folder = tempfile.gettempdir()
        return Process(twistd, "-n", "--pidfile=", "natsconnector", *flags, ready="natsconnector ready", cwd=folder)
    streams = [stream] if stream is not None else []
    return Process(
        sys.executable, str(HERE / "peers" / f"{name}.py"), nats, gateway, str(inflight), *streams, ready="ready"
    )


def client(name: str, what: str, nats: str, number: int) -> Process:
    """Start our NATS client, or nats-py, as a program of its own, which prints seconds and CPU seconds at its end."""
    program = ["-m", "benchmarks.own_client"] if name == "natsconnector" else [str(HERE / "peers" / "client.py")]
    return Process(sys.executable, *program, what, nats, str(number), ready="ready")

"""The gateway's address. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a gateway is, worked out once."""

    url: str
    """The base URL, with a scheme and without a slash at the end."""
    tls: bool
    host: str
    """A name, perhaps with a dot at its end, or an address, for IPv6 without brackets."""
    port: int
    host_header: str
    prefix: str
    """The path that all paths at the gateway begin with, without a slash at the end; mostly empty."""

    @property
    def tls_name(self) -> str:
        """What a certificate has to name: without the final dot (RFC 6066, 3) and without an IPv6 zone."""
        return self.host.removesuffix(".").partition("%")[0]


def parse_origin(url: str) -> Origin:
    """
    The origin that a gateway's base URL names; without a scheme it is ``http``.

    :raises ValueError: it names none.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.netloc.isascii():
        raise ValueError(f"not the URL of a gateway: {url}")
    tls = parts.scheme == "https"
    host, port = parts.hostname, parts.port
    # RFC 6874, 4: a zone means something on this machine only.
    shown = f"[{host.partition('%')[0]}]" if ":" in host else host
    host_header = shown if port is None else f"{shown}:{port}"
    prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    return Origin(
        f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}",
        tls,
        host,
        port or (443 if tls else 80),
        host_header,
        prefix,
    )

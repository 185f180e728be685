"""The NATS protocol as bytes: what a server sends, parsed; what a client sends, encoded. No sockets, no Twisted."""

"""What ``--embedded`` runs: a nats-server process and a gateway whose functions are local processes."""

"""Results of asynchronous calls: the gateway posts them to the connector, which publishes them on NATS."""

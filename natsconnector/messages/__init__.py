"""NATS as the connector sees it, both ways: deliveries in, replies, acknowledgements and dead letters out."""

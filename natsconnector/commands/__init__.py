"""What ``python -m natsconnector`` can do besides running the connector."""

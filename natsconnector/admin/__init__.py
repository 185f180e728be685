"""What an operator, or a machine, asks the connector about itself: health, readiness, metrics."""

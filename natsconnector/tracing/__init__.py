"""What becomes of messages, told to a tracing system."""

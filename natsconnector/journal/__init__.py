"""What became of messages: counts and log lines."""

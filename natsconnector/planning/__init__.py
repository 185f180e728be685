"""Which calls a message asks for."""

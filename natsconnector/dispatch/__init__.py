"""When calls are made, and how their messages end."""

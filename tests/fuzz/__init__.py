"""A fuzzer: seeded, in process where there is no socket to it, over 127.0.0.1 where there is. See ``__main__``."""

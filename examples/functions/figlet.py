#!/usr/bin/env python3
"""A function: text on stdin, the same as a banner on stdout."""

import sys

from pyfiglet import figlet_format

print(figlet_format(sys.stdin.read().strip()), end="")

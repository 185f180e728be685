#!/usr/bin/env python3
"""A function that answers what it got, after as many seconds as its environment says in `DELAY_S`."""

import os
import sys
import time

body = sys.stdin.buffer.read()
time.sleep(float(os.environ.get("DELAY_S", "1")))
sys.stdout.buffer.write(body)

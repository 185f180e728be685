"""Tests of :mod:`natsconnector.callbacks`."""

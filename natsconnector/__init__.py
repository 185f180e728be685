"""Trigger OpenFaaS functions from NATS messages."""

__version__ = "0.2.0"

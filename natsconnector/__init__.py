"""Trigger OpenFaaS functions from NATS messages."""

__version__ = "0.1.0"

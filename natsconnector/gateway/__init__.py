"""A client of the OpenFaaS gateway."""

from natsconnector.gateway.client import GatewayClient

__all__ = ["GatewayClient"]

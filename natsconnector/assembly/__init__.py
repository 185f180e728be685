"""Where the parts are put together: the only place that knows all of them."""

from natsconnector.assembly.service import makeService
from natsconnector.config.options import Options

__all__ = ["Options", "makeService"]

"""Makes ``natsconnector`` a subcommand of twistd and twist."""

from twisted.application.service import ServiceMaker

natsconnector = ServiceMaker(
    "natsconnector",
    "natsconnector.assembly",
    "Trigger OpenFaaS functions from NATS messages",
    "natsconnector",
)

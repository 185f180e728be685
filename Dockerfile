# Any image with Python 3.10 or newer and its venv module; both stages use it, since a venv points at the Python it came from.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Extras of pyproject.toml to install, as in `otel` or `embedded,otel`; none for the connector alone.
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY . /source
RUN python -m pip wheel --no-deps --wheel-dir /wheels /source
# No pip in the venv, and none of the libraries' own tests: they are more than half of Twisted.
RUN python -m venv --without-pip /opt/natsconnector \
 && python -m pip --python /opt/natsconnector/bin/python install "$(ls /wheels/*.whl)${EXTRAS:+[${EXTRAS}]}" \
 && find /opt/natsconnector/lib -type d \( -name test -o -name tests \) -prune -exec rm -rf {} +

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/natsconnector/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/natsconnector /opt/natsconnector
# Writes twisted/plugins/dropin.cache. In this stage: a cache that is not newer than the plugins does not count.
RUN python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))" \
 && twistd natsconnector --version
ARG VERSION=unknown
LABEL org.opencontainers.image.title="natsconnector" \
      org.opencontainers.image.description="Trigger OpenFaaS functions from NATS messages" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
WORKDIR /
USER 10001:10001
# It asks at NATSCONNECTOR_ADMIN: whoever chooses another endpoint by a flag, or another program, has to say so here too.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python", "-m", "natsconnector", "probe"]
ENTRYPOINT ["twistd", "-n", "natsconnector"]
CMD []

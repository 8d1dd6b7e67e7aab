# syntax=docker/dockerfile:1
# Two stages: the first builds an environment from the hash-locked requirements, the second holds
# that environment, Python, and nothing that installs or builds.
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# The environment has no pip of its own; the stage's pip fills it.
RUN python -m venv --without-pip /opt/websocketmanager
# Requirements first: this layer is rebuilt only when the lock changes.
COPY requirements/run.txt requirements/run.txt
RUN python -m pip --python /opt/websocketmanager/bin/python install --require-hashes --no-deps -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY config/profiles config/profiles
COPY src src
# The lock holds the build back end too; once the project is installed, it goes.
RUN python -m pip --python /opt/websocketmanager/bin/python install --no-deps --no-build-isolation . \
    && python -m pip --python /opt/websocketmanager/bin/python uninstall --yes editables hatchling

FROM python:${PYTHON_VERSION}-slim-bookworm
LABEL org.opencontainers.image.title="websocketmanager" \
      org.opencontainers.image.description="Holds outbound WebSocket connections for other services" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/websocketmanager /opt/websocketmanager
# Where the embedded API (`api`) keeps its database; `serve` writes there only what `MessageLogFolder` asks for.
RUN install --directory --owner=10001 --group=10001 /var/lib/websocketmanager
WORKDIR /var/lib/websocketmanager
ENV PATH=/opt/websocketmanager/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HttpPort=5001 \
    GrpcPort=5002 \
    BindHost=0.0.0.0
# A number, so that orchestrators can see that it is not root.
USER 10001:10001
EXPOSE 5001 5002
# Recovery may take its deadline before the service is ready.
HEALTHCHECK --interval=15s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:%s/health/ready' % os.environ['HttpPort'], timeout=4)"]
# SIGTERM begins the graceful stop; give it more than ShutdownGraceSeconds before a kill.
STOPSIGNAL SIGTERM
ENTRYPOINT ["websocketmanager"]
CMD ["serve"]

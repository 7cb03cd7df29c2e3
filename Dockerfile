# syntax=docker/dockerfile:1

# The version that the tests run on.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE MANIFEST.in ./
COPY smartmob ./smartmob
RUN python -m venv /opt/smartmob && /opt/smartmob/bin/pip install --no-cache-dir '.[server,fluent]'
COPY deploy/healthcheck.py /opt/smartmob/healthcheck.py

# For compose.test.yaml; an image of the service has nothing of it.
FROM python:${PYTHON}-slim-bookworm AS tests
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium-headless-shell git make systemd util-linux \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --user-group --create-home tester && install -d -o tester -g tester /source
WORKDIR /source
USER 10001:10001
COPY --chown=10001:10001 . .
RUN make .venv/made-tests .venv/made-docs
CMD ["make", "test"]

FROM python:${PYTHON}-slim-bookworm
# With a name, which the PostgreSQL that comes along asks for, and with a number, which Kubernetes looks at.
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/smartmob --shell /usr/sbin/nologin smartmob \
    && install -d -o smartmob -g smartmob -m 0700 /var/lib/smartmob
COPY --from=build /opt/smartmob /opt/smartmob
ENV PATH=/opt/smartmob/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SMARTMOB_DATA_DIR=/var/lib/smartmob \
    SMARTMOB_HOST=0.0.0.0 \
    SMARTMOB_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/smartmob
VOLUME /var/lib/smartmob
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "/opt/smartmob/healthcheck.py"]
ENTRYPOINT ["smartmob"]
CMD ["serve"]

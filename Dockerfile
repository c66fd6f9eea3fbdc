# Hushgate: one image, a command for each service: docker run hushgate media
# Without features of BuildKit, so that buildah and old engines build it, too. Python must be the same in both stages.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# --- build: packages by their hashes, the hot path compiled (docs/adr/0009-compiled-hot-path.md) -----------------------
FROM ${BASE_IMAGE} AS build

RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && { [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] \
      || apt-get install --yes --no-install-recommends python3-dev; } \
 && rm -rf /var/lib/apt/lists/*

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements/run.txt requirements/models.txt requirements/build.txt /src/requirements/
# What runs, and beside it what only builds: the second sees the first, the image never sees the second. Of silero-vad
# (models.txt) only one of its models stays, 1.3 of 14 MB.
RUN python3 -m venv --without-pip /opt/hushgate \
 && python3 -m pip --python /opt/hushgate/bin/python install --require-hashes -r /src/requirements/run.txt \
 && python3 -m pip --python /opt/hushgate/bin/python install --require-hashes --no-deps -r /src/requirements/models.txt \
 && python3 -m venv --without-pip /opt/build \
 && site=$(/opt/hushgate/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && find "$site/silero_vad/data" -type f ! -name silero_vad_16k_op15.onnx -delete \
 && echo "$site" >"$(/opt/build/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/run.pth" \
 && python3 -m pip --python /opt/build/bin/python install --require-hashes --no-build-isolation --ignore-installed \
      -r /src/requirements/build.txt

COPY pyproject.toml README.md LICENSE /src/
COPY deploy/compile deploy/hot-modules.txt /src/deploy/
COPY services /src/services
RUN python3 -m pip --python /opt/hushgate/bin/python install --no-deps --no-build-isolation /src \
 && site=$(/opt/hushgate/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
 && PATH=/opt/build/bin:$PATH /src/deploy/compile /opt/compiled \
 && rm -rf "$site/services" && cp -r /opt/compiled/. "$site/" \
 && /opt/hushgate/bin/python -m compileall -q -j 0 "$site/services"

# --- what runs: nothing but Python, the packages and Hushgate ---------------------------------------------------------
FROM ${BASE_IMAGE}

LABEL org.opencontainers.image.title="hushgate" \
      org.opencontainers.image.description="A self-hosted voice-AI gateway" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/hushgate /opt/hushgate
# Numbers, because Kubernetes checks runAsNonRoot by them. Writable are only what a volume is mounted on.
RUN mkdir -p /var/lib/hushgate && chown 10001:10001 /var/lib/hushgate
ENV PATH=/opt/hushgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /var/lib/hushgate
VOLUME /var/lib/hushgate
# Kubernetes has probes of its own; this one is for `docker run` with a fixed *_HTTP_PORT.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["hushgate", "healthy"]
ENTRYPOINT ["hushgate"]
CMD ["up", "--help"]

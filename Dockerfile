# One image for every component: `docker run IMAGE hooks`, `proxy`, `proxy.shield`, `kuik.copy_job`, `kuik`; and for the
# registry, CNCF distribution as its project publishes it, whose writer is the keeper's child.
ARG PYTHON=python:3.13-slim-bookworm
ARG DISTRIBUTION=docker.io/distribution/distribution:3.1.2

FROM ${DISTRIBUTION} AS distribution

FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements.txt .
RUN python -m venv /opt/kuik \
    && /opt/kuik/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM ${PYTHON}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kube-image-keeper" \
      org.opencontainers.image.description="Keeps every image that a Kubernetes cluster runs available inside that cluster." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/kuik/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=distribution /bin/registry /usr/local/bin/registry
COPY --from=build /opt/kuik /opt/kuik
WORKDIR /app
COPY registry registry
COPY kube kube
COPY telemetry telemetry
COPY hooks hooks
COPY proxy proxy
COPY kuik kuik
COPY metacontroller metacontroller
RUN python -m compileall -q /app
USER 65532:65532
ENTRYPOINT ["python", "-m"]
CMD ["kuik", "--help"]

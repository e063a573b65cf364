# syntax=docker/dockerfile:1
# Two stages: one that has pip and builds, one that has neither. Both install only what deploy/requirements*.txt pin by hash.
# At run time it writes no file: it runs under any user id and with a read-only root.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/secrets-manager

COPY deploy/requirements.txt deploy/requirements-build.txt deploy/
RUN pip --python /opt/secrets-manager install --require-hashes --only-binary :all: -r deploy/requirements.txt \
    && pip install --require-hashes --only-binary :all: -r deploy/requirements-build.txt

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
    && pip --python /opt/secrets-manager install --no-deps --no-index dist/*.whl

FROM ${PYTHON}
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="secrets-manager" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets in sync with Vault and OpenBao" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base image brings its own pip: what runs here installs nothing.
RUN python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip
COPY --from=build /opt/secrets-manager /opt/secrets-manager
# Bytecode was compiled while building, and there is no place to write it later.
ENV PATH=/opt/secrets-manager/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["secrets-manager"]

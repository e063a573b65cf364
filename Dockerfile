# syntax=docker/dockerfile:1
# Builds with pip, and leaves it behind. What is installed is pinned by hash in deploy/requirements*.txt.
# At run time the program writes no file: it runs under any user id and with a read-only root.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
# Whichever binutils the base has: nothing of it stays.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv --without-pip /opt/secrets-manager

COPY deploy/requirements.txt deploy/requirements-build.txt deploy/
# All that is installed is in the list: what a package asks for besides was left out of it.
RUN pip --python /opt/secrets-manager install --no-compile --no-deps --require-hashes --only-binary :all: \
        -r deploy/requirements.txt \
    && pip install --no-compile --require-hashes --only-binary :all: -r deploy/requirements-build.txt

# Neither debug symbols, nor tests, nor other packages' commands, nor data that nothing here reads: the locales and time zones of
# Liquid's filters for currencies and dates, which templates do not have, and the C parser of YAML beside the one that is used.
RUN find /opt/secrets-manager -name '*.so' -exec strip --strip-unneeded {} + \
    && find /opt/secrets-manager -type d \( -name tests -o -name _tests -o -path '*/babel/locale-data' \
        -o -path '*/pytz/zoneinfo' -o -path '*/tzdata/zoneinfo' \) -prune -exec rm -r {} + \
    && find /opt/secrets-manager -name '_yaml*.so' -delete \
    && find /opt/secrets-manager/bin -type f -delete

COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
    && pip --python /opt/secrets-manager install --no-compile --no-deps --no-index dist/*.whl
COPY deploy/image/compile_imports.py deploy/image/
RUN PYTHONPYCACHEPREFIX=/opt/secrets-manager/bytecode /opt/secrets-manager/bin/python deploy/image/compile_imports.py

# `--target sbom --output FOLDER` writes the image's Python packages as CycloneDX.
FROM ${PYTHON} AS describe
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
COPY deploy/requirements-sbom.txt deploy/
RUN pip install --no-compile --require-hashes --only-binary :all: -r deploy/requirements-sbom.txt
COPY pyproject.toml ./
COPY --from=build /opt/secrets-manager /opt/secrets-manager
RUN cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
        --output-file secrets-manager.cdx.json /opt/secrets-manager/bin/python

FROM scratch AS sbom
COPY --from=describe /build/secrets-manager.cdx.json /

FROM ${PYTHON} AS image
ENV PATH=/opt/secrets-manager/bin:${PATH} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    PYTHONPYCACHEPREFIX=/opt/secrets-manager/bytecode
# The base image brings its own pip: what runs here installs nothing.
RUN python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip
COPY --from=build /opt/secrets-manager /opt/secrets-manager
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["secrets-manager"]
ARG PYTHON
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="secrets-manager" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets in sync with Vault, OpenBao and Azure Key Vault" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${PYTHON}"

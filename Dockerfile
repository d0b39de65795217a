# Passmuster as a queue worker and as the command that submits files: docs/how-to/containers.md.
# Tests run under the image's own Python, /usr/local/bin/python3, and cannot import the runner's packages.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
# Package indexes for pip, if not its default.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/passmuster
# Before the code, so that a change of the code reinstalls nothing.
COPY requirements/runtime.txt requirements/metrics.txt requirements/
RUN python3 -m venv .venv && \
    .venv/bin/python -m pip install --quiet -r requirements/runtime.txt -r requirements/metrics.txt
COPY . .
# The runner's first start only checks the environment and records the result.
RUN ./run_tests.py --version && .venv/bin/python -m compileall -q passmuster worker dispatcher

FROM build AS packed
RUN .venv/bin/python -m pip uninstall --quiet --yes pip setuptools

FROM python:${PYTHON_VERSION}-slim AS base
RUN useradd --uid 1000 --user-group --create-home passmuster && install -d -o passmuster -g passmuster /project
COPY docker/entrypoint /usr/local/bin/passmuster
WORKDIR /project
USER passmuster
ENTRYPOINT ["passmuster"]
CMD ["./run_tests.py", "--help"]

FROM base AS passmuster
COPY --from=packed /opt/passmuster /opt/passmuster

FROM build AS flower-build
COPY requirements/flower.txt requirements/
RUN .venv/bin/python -m pip install --quiet -r requirements/flower.txt

FROM base AS flower
COPY --from=flower-build /opt/passmuster /opt/passmuster
CMD ["flower"]

# A build without a target creates the last stage.
FROM passmuster

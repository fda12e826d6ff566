# The service: docker build -t hushtune . && docker compose up
# The artifact is mounted, not built in: a new one needs no new image.

FROM python:3.11-slim AS build
WORKDIR /src
COPY locks/python-3.11.txt locks/
RUN python -m venv /opt/hushtune \
    && /opt/hushtune/bin/pip install --no-cache-dir --require-hashes -r locks/python-3.11.txt
COPY pyproject.toml README.md ./
COPY hushtune hushtune
COPY support support
COPY configs configs
COPY model model
COPY training training
COPY fhe fhe
COPY eval eval
RUN /opt/hushtune/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
# Each worker compiles a circuit with look-ups for its machine (binutils); it computes with OpenMP
# (libgomp1).
# Debian keeps one version of each package.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home hushtune \
    && install --directory --owner hushtune --mode 700 /data
COPY --from=build /opt/hushtune /opt/hushtune
USER 10001
VOLUME /data
EXPOSE 8714
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/opt/hushtune/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8714/readyz', timeout=4)"]
ENTRYPOINT ["/opt/hushtune/bin/hushtune"]
CMD ["serve", "/artifact", "--host", "0.0.0.0", "--data", "/data"]

# The roles of a market as images, one target each: anvil, market, aggregator, trainer (owners and attestors use it, too).
#
#   docker build --target market --build-arg UID=$(id -u) .
#
# Nothing runs as root. UID is the account's inside: that of whoever owns the files handed in as secrets, since those
# are readable by nobody else.

ARG NODE_IMAGE=node:20.19.4-bookworm-slim
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${NODE_IMAGE} AS tools
WORKDIR /tools
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund \
    && install -m 0755 node_modules/@foundry-rs/anvil-linux-*/bin/anvil /usr/local/bin/anvil

FROM ${PYTHON_IMAGE} AS base
ARG UID=1000
ENV PATH=/opt/fedmarket/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/lib/fedmarket/kernels \
    HOME=/tmp
# A volume that is new takes its owner from the folder that it is mounted on.
RUN useradd --uid "${UID}" --no-create-home --shell /usr/sbin/nologin fedmarket \
    && for folder in '' chain data deployment kernels srs store work; do \
        install -d -o fedmarket -g fedmarket -m 0700 "/var/lib/fedmarket/${folder}"; done
WORKDIR /var/lib/fedmarket

FROM base AS anvil
COPY --from=tools /usr/local/bin/anvil /usr/local/bin/anvil
USER fedmarket
EXPOSE 8545
ENTRYPOINT ["anvil"]

FROM base AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY aggregator ./aggregator
COPY fedmarket ./fedmarket
COPY market ./market
COPY trainer_client ./trainer_client
COPY zk ./zk
RUN python -m venv /opt/fedmarket

FROM source AS market-build
RUN pip install --no-cache-dir --constraint constraints.txt '.[market]'

FROM base AS market
COPY --from=market-build /opt/fedmarket /opt/fedmarket
USER fedmarket
EXPOSE 8000
ENTRYPOINT ["fedmarket"]
CMD ["market", "run", "--host", "0.0.0.0", "--port", "8000"]

FROM source AS aggregator-build
RUN pip install --no-cache-dir --constraint constraints.txt '.[aggregator]'

FROM base AS aggregator
COPY --from=aggregator-build /opt/fedmarket /opt/fedmarket
USER fedmarket
ENTRYPOINT ["fedmarket"]

FROM source AS trainer-build
# Where PyTorch's builds without CUDA are; an empty one takes the package index's, with CUDA and several GB.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} \
    '.[owner,trainer]' scikit-learn

FROM base AS trainer
COPY --from=trainer-build /opt/fedmarket /opt/fedmarket
USER fedmarket
ENTRYPOINT ["fedmarket"]

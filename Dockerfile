# The command vq2d with the weights of the embedded preset inside.
#   docker build -t vq2d .
#   docker build -t vq2d --build-arg BASE=nvidia/cuda:12.6.3-runtime-ubuntu24.04 .
#   docker run --rm -v "$PWD:/work" vq2d localize kitchen.mp4 --at 12.4 --box 310,220,90,120
ARG BASE=ubuntu:24.04
FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv python3-dev gcc g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/ren
COPY . .
ENV REN_CACHE=/opt/weights PATH=/opt/ren/.venv/bin:${PATH}
RUN make weights && rm -rf /root/.cache
WORKDIR /work
ENTRYPOINT ["vq2d"]
CMD ["--help"]

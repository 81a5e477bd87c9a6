# The light command, without torch and ESPnet:
#   docker build -t pse-kd .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" pse-kd \
#       enhance meeting.wav --profile me.profile -o meeting_me.wav
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM python:3.13-slim
COPY --from=build /dist /dist
RUN pip install --no-cache-dir /dist/*.whl && rm -r /dist
# Any user: the container has no home to write to.
ENV XDG_CACHE_HOME=/tmp/cache
USER nobody
WORKDIR /data
ENTRYPOINT ["pse-kd"]
CMD ["--help"]

#!/bin/sh
# Triton out of its wheel, where it was installed.
packages=/usr/local/lib/python3.11/dist-packages
server=$packages/pytriton/tritonserver
export LD_LIBRARY_PATH=$packages/nvidia_pytriton.libs
exec "$server/bin/tritonserver" \
    --model-repository=/app/models --backend-directory="$server/backends" \
    --http-address=0.0.0.0 --http-port=8080 --allow-grpc=false --allow-metrics=false

#!/bin/sh
# Says what it was asked, as the error of its reply.
set -eu
text=$(sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' "$1")
printf '{"protocol":"io.choria.choria.discovery.v1.external_reply","nodes":[],"error":"%s"}' "$text" >"$2"

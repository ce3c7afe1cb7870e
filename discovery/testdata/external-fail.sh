#!/bin/sh
# Fails after a good reply.
printf '{"protocol":"io.choria.choria.discovery.v1.external_reply","nodes":["a"]}' >"$2"
echo "the database is locked" >&2
exit 3

#!/bin/sh
# Replies with its first argument.
printf '%s' "$1" >"$3"

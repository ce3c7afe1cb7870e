#!/bin/sh
# Answers with one node for each thing that it was given, so that a test sees all of them.
set -eu
[ "$#" -eq 4 ] && [ "$1" = "an argument" ] && [ "$4" = io.choria.choria.discovery.v1.external_request ]
[ "$2" = "$CHORIA_EXTERNAL_REQUEST" ] && [ "$3" = "$CHORIA_EXTERNAL_REPLY" ] && [ "$4" = "$CHORIA_EXTERNAL_PROTOCOL" ]
[ "$PWD" = "$(dirname "$2")" ]
leaked=$(env | grep -c -E -v '^(CHORIA_EXTERNAL_(REQUEST|REPLY|PROTOCOL)|PATH|PWD|OLDPWD|SHLVL|_)=') || true
[ "$leaked" -eq 0 ]
echo "noise on stdout"
echo "noise on stderr" >&2
cat >"$3" <<EOF
{"protocol":"io.choria.choria.discovery.v1.external_reply","nodes":["web10","web9","web10"],"extra":true}
EOF

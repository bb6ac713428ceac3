#!/usr/bin/env bash
# Installs all that the tests, the demo and the benchmark need, once; says nothing when all is there.
# Usage: install.sh [tools]: with `tools` only what is installed into the system itself, which the build needs as well.
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/servers/home.sh"
tools curl=curl cc=build-essential setpriv=util-linux flock=util-linux pt-online-schema-change=percona-toolkit \
    pkg-config=pkg-config
# What librdkafka is built with.
for library in openssl=libssl-dev zlib=zlib1g-dev; do
    pkg-config --exists "${library%%=*}" || tools no-such-command="${library#*=}"
done
[ "${1:-}" = tools ] && exit
for server in mysql versitygw python kafka registry debezium; do
    bash "$here/servers/$server.sh" install
done

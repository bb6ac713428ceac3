#!/usr/bin/env bash
# Installs all that the tests, the demo and the benchmark need, once; says nothing when all is there.
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/servers/home.sh"
tools curl=curl cc=build-essential setpriv=util-linux flock=util-linux pt-online-schema-change=percona-toolkit
for server in mysql versitygw python registry; do
    bash "$here/servers/$server.sh" install
done

#!/usr/bin/env bash
# versitygw: a real S3 server over a folder, built once from its Go module (about two minutes).
# Usage: versitygw.sh install
. "$(dirname "${BASH_SOURCE[0]}")/home.sh"
VERSION=v1.8.0

install() {
    [ -x "$SERVERS_HOME/bin/versitygw" ] && return
    PATH=$PATH:/usr/local/go/bin
    tools go=golang-go
    say "building versitygw $VERSION (once, about two minutes)"
    GOBIN=$SERVERS_HOME/bin go install "github.com/versity/versitygw/cmd/versitygw@$VERSION" >&2
}

case ${1:-} in
    install) locked versitygw install;;
    *) die "usage: versitygw.sh install";;
esac

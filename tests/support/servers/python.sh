#!/usr/bin/env bash
# A Python environment with the independent readers: DuckDB and pyarrow of a lake, boto3 of a store, confluent-kafka (with its
# reader of Avro) of topics, versions pinned.
# Usage: python.sh install
. "$(dirname "${BASH_SOURCE[0]}")/home.sh"
VENV=$SERVERS_HOME/venv
PACKAGES=(duckdb==1.5.5 pyarrow==26.0.1 'confluent-kafka[avro,schemaregistry]==2.12.2' fastavro==1.13.1 boto3==1.44.5)

complete() {
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" - "${PACKAGES[@]}" 2>/dev/null <<'PY'
import sys
from importlib.metadata import version
pins = (package.split("==") for package in sys.argv[1:])
sys.exit(any(version(name.split("[")[0]) != pin for name, pin in pins))
PY
}

install() {
    complete && return
    tools python3=python3
    python3 -c 'import ensurepip' 2>/dev/null || tools no-such-command=python3-venv
    say "installing ${PACKAGES[*]} (once)"
    [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "${PACKAGES[@]}" >&2
}

case ${1:-} in
    install) locked python install;;
    *) die "usage: python.sh install";;
esac

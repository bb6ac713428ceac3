# Sourced by the scripts beside it: where the servers live, and the tools that the machine itself must have.
# Everything is kept below SERVERS_HOME, shared by all work trees of this machine and safe to use from several at once.
set -Eeuo pipefail
trap 'printf "error: %s line %s: %s failed\n" "${BASH_SOURCE[0]:-bash}" "$LINENO" "$BASH_COMMAND" >&2' ERR
SERVERS_HOME=${SERVERS_HOME:-$HOME/.cache/test-servers}
mkdir -p "$SERVERS_HOME/bin"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# locked NAME COMMAND...: one process of this machine at a time.
locked() {
    local name=$1; shift
    ( flock 9; "$@" ) 9>"$SERVERS_HOME/.$name.lock"
}

# tools COMMAND=PACKAGE...: installs the Debian packages of the commands that are missing.
tools() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || die "missing: ${missing[*]}; install them with this system's package tool"
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    say "installing: ${missing[*]}"
    "${root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

#!/usr/bin/env bash
# MySQL from Debian's unstable packages, unpacked into a private prefix with its own dynamic loader: nothing is
# installed into the system. Also an initialised data directory and certificates, which every test server copies.
# Usage: mysql.sh install
. "$(dirname "${BASH_SOURCE[0]}")/home.sh"
HOME_OF_MYSQL=$SERVERS_HOME/mysql
PREFIX=$HOME_OF_MYSQL/prefix
TEMPLATE=$HOME_OF_MYSQL/template

# The Debian mirror that this machine already uses: the first of its configured sources, if any.
mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
        grep -v '^#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | sed -n 1p | tr -d ' ' || true
}

# Downloads the server, its client and all their libraries, as if nothing were installed, and unpacks them.
unpack() {
    [ -x "$PREFIX/usr/sbin/mysqld" ] && return
    local apt=$HOME_OF_MYSQL/apt new=$PREFIX.new source package
    source=$(mirror)
    [ -n "$source" ] || die "no Debian mirror is configured on this machine: cannot download MySQL"
    say "downloading MySQL (once, about 70 MB)"
    rm -rf "$new"
    mkdir -p "$apt"/lists/partial "$apt"/cache/archives/partial "$new"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $source sid main" > "$apt/sources.list"
    : > "$apt/status"
    local options=(-o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$apt/lists" -o "Dir::State::status=$apt/status"
        -o "Dir::Cache=$apt/cache" -o "Dir::Cache::archives=$apt/cache/archives"
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1 -o APT::Install-Recommends=false
        -o APT::Update::Post-Invoke= -o DPkg::Post-Invoke= -o APT::Keep-Downloaded-Packages=true)
    apt-get "${options[@]}" update -qq
    apt-get "${options[@]}" -y -qq --download-only install mysql-server-core mysql-client-core >&2
    for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$new"; done
    rm -rf "$PREFIX"
    mv "$new" "$PREFIX"
}

loader() {
    local file
    for file in "$PREFIX"/usr/lib64/ld-linux-*.so.* "$PREFIX"/usr/lib/*-linux-gnu/ld-linux-*.so.*; do
        [ -e "$file" ] && { echo "$file"; return; }
    done
    die "no dynamic loader below $PREFIX"
}

# certificate DIR NAME CA SUBJECT SAN: a key and a certificate signed by CA.
certificate() {
    openssl req -newkey rsa:2048 -nodes -keyout "$1/$2-key.pem" -out "$1/$2.csr" -subj "$4" 2>/dev/null
    openssl x509 -req -in "$1/$2.csr" -CA "$1/$3.pem" -CAkey "$1/$3-key.pem" -CAcreateserial -days 36500 \
        -extfile <(printf 'basicConstraints=CA:FALSE\nsubjectAltName=%s\n' "$5") -out "$1/$2-cert.pem" 2>/dev/null
}

# A CA with two servers' certificates (the second one names another host), and a CA that signed neither.
certificates() {
    local name
    for name in ca other-ca; do
        openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -keyout "$1/$name-key.pem" -out "$1/$name.pem" \
            -subj "/CN=lakeward test $name" 2>/dev/null
    done
    certificate "$1" server ca /CN=localhost DNS:localhost,IP:127.0.0.1
    certificate "$1" elsewhere ca /CN=elsewhere.invalid DNS:elsewhere.invalid
    rm -f "$1"/*.csr "$1"/*.srl
}

template() {
    [ -d "$TEMPLATE" ] && return
    local new=$TEMPLATE.new
    say "initialising MySQL's data directory (once)"
    rm -rf "$new"
    mkdir -p "$new/certificates"
    certificates "$new/certificates"
    cat > "$new/init.sql" <<SQL
CREATE USER root@'127.0.0.1' IDENTIFIED BY '';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
SQL
    "$(loader)" --library-path "$(dirname "$(ls "$PREFIX"/usr/lib/*-linux-gnu/libc.so.6)")" "$PREFIX/usr/sbin/mysqld" \
        --no-defaults --user="$(id -un)" --basedir="$PREFIX/usr" --datadir="$new/data" \
        --lc-messages-dir="$PREFIX/usr/share/mysql" --character-sets-dir="$PREFIX/usr/share/mysql/charsets" \
        --plugin-dir="$PREFIX/usr/lib/mysql/plugin" --init-file="$new/init.sql" --log-error="$new/init.log" \
        --initialize-insecure || { tail -20 "$new/init.log" >&2; die "MySQL could not initialise $new/data"; }
    rm -f "$new/data/auto.cnf"
    mv "$new" "$TEMPLATE"
}

install() {
    tools dpkg=dpkg openssl=openssl
    unpack
    template
}

case ${1:-} in
    install) locked mysql install;;
    *) die "usage: mysql.sh install";;
esac

#!/usr/bin/env bash
# Debezium's MySQL connector and its embedded engine, from Maven Central: what is compared with our records
# (tests/support/src/debezium.rs), what fills topics that are loaded (debezium_to_kafka.rs), and what wrote the golden files of connectors/kafka/testdata.
# Usage: debezium.sh install
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/home.sh"
VERSION=3.6.1.Final
# The second part tells what of debezium-pom.xml is there beside it.
HOME_OF_DEBEZIUM=$SERVERS_HOME/debezium-$VERSION-avro

install() {
    # Debezium.java is compiled when it is run.
    tools javac=default-jdk-headless
    [ -e "$HOME_OF_DEBEZIUM/debezium-connector-mysql-$VERSION.jar" ] && return
    tools mvn=maven
    local new=$HOME_OF_DEBEZIUM.new
    say "installing Debezium $VERSION (once, about 80 MB)"
    rm -rf "$new"
    # Some of its dependencies name repositories of their own; all that is needed is on Maven Central.
    printf '%s' '<settings><mirrors><mirror><id>no-others</id><mirrorOf>*,!central</mirrorOf>' \
        '<url>file:///nonexistent</url></mirror></mirrors></settings>' > "$SERVERS_HOME/.debezium-settings.xml"
    mvn -q -B -s "$SERVERS_HOME/.debezium-settings.xml" -f "$here/debezium-pom.xml" -Ddebezium.version="$VERSION" \
        dependency:copy-dependencies -DoutputDirectory="$new" >&2
    rm -rf "$HOME_OF_DEBEZIUM"
    mv "$new" "$HOME_OF_DEBEZIUM"
}

case ${1:-} in
    install) locked debezium install;;
    *) die "usage: debezium.sh install";;
esac

#!/usr/bin/env bash
# Debezium's MySQL connector and its embedded engine, from Maven Central: what is compared with our records
# (tests/support/src/debezium.rs), what fills topics that are loaded (debezium_to_kafka.rs), and what wrote the golden files of connectors/kafka/testdata.
# Usage: debezium.sh install
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/home.sh"
VERSION=3.6.1.Final
# The second part tells what of debezium-pom.xml is there beside it.
HOME_OF_DEBEZIUM=$SERVERS_HOME/debezium-$VERSION-avro
# Our programs, compiled, and the classes that they load.
PROGRAMS=$HOME_OF_DEBEZIUM/programs

libraries() {
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

# A program that is compiled at each start, and loads its classes one by one, takes twice as long to start. The classes
# are noted (as kafka.sh does) by a connector that finds no server: it ends when it has started.
programs() {
    local sources=("$here"/Debezium*.java) new=$PROGRAMS.new
    # Of these sources, not of others that were here before.
    cat "${sources[@]}" | cmp -s - "$PROGRAMS/sources" && return
    say "compiling Debezium's programs"
    rm -rf "$new"
    mkdir -p "$new/classes" "$PROGRAMS"
    javac -cp "$HOME_OF_DEBEZIUM/*" -d "$new/classes" "${sources[@]}"
    # An archive of classes takes them from jars alone, whose paths stay.
    jar -c -f "$new/programs.jar" -C "$new/classes" .
    mv "$new/programs.jar" "$PROGRAMS"
    java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit="$new/classes.jsa" \
        -cp "$PROGRAMS/programs.jar:$HOME_OF_DEBEZIUM/*" \
        DebeziumToKafka 127.0.0.1:1 avro http://127.0.0.1:1 name=none topic.prefix=none \
        connector.class=io.debezium.connector.mysql.MySqlConnector database.server.id=1 \
        database.hostname=127.0.0.1 database.port=1 database.user=none database.password=none \
        offset.storage=org.apache.kafka.connect.storage.MemoryOffsetBackingStore \
        schema.history.internal=io.debezium.relational.history.MemorySchemaHistory > "$new/log" 2>&1 || true
    [ -s "$new/classes.jsa" ] && mv "$new/classes.jsa" "$PROGRAMS"
    cat "${sources[@]}" > "$new/sources"
    mv "$new/sources" "$PROGRAMS"
    rm -rf "$new"
}

install() {
    tools javac=default-jdk-headless
    libraries
    programs
}

case ${1:-} in
    install) locked debezium install;;
    *) die "usage: debezium.sh install";;
esac

#!/usr/bin/env bash
# Debezium's MySQL connector in its embedded engine, from Maven Central: what it writes of a server's changes, without
# a broker. With it the golden files of connectors/kafka/testdata were made.
# Usage: debezium.sh install
#        debezium.sh into BROKERS json|json-with-schemas|avro REGISTRY key=value…    writes records to a broker
#        debezium.sh run OUT COUNT key=value…    writes COUNT records into OUT, with these properties of the connector
. "$(dirname "${BASH_SOURCE[0]}")/home.sh"
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VERSION=3.6.1.Final
# The second part tells what of debezium-pom.xml is there beside it.
HOME_OF_DEBEZIUM=$SERVERS_HOME/debezium-$VERSION-avro

install() {
    [ -e "$HOME_OF_DEBEZIUM/debezium-connector-mysql-$VERSION.jar" ] && return
    tools java=default-jdk-headless mvn=maven
    local new=$HOME_OF_DEBEZIUM.new
    say "installing Debezium $VERSION (once, about 80 MB)"
    rm -rf "$new"
    # Some of its dependencies name repositories of their own; all that is needed is on Maven Central.
    printf '%s' '<settings><mirrors><mirror><id>central-for-all</id><mirrorOf>*</mirrorOf>' \
        '<url>https://repo.maven.apache.org/maven2</url></mirror></mirrors></settings>' > "$SERVERS_HOME/.debezium-settings.xml"
    mvn -q -B -s "$SERVERS_HOME/.debezium-settings.xml" -f "$HERE/debezium-pom.xml" -Ddebezium.version="$VERSION" \
        dependency:copy-dependencies -DoutputDirectory="$new" >&2
    rm -rf "$HOME_OF_DEBEZIUM"
    mv "$new" "$HOME_OF_DEBEZIUM"
}

case ${1:-} in
    install) locked debezium install;;
    into)
        exec java -Xmx400m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$HOME_OF_DEBEZIUM/*" \
            -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "$HERE/Debezium.java" "$2" "$3" "$4" name=shop \
            connector.class=io.debezium.connector.mysql.MySqlConnector \
            offset.storage=org.apache.kafka.connect.storage.MemoryOffsetBackingStore \
            schema.history.internal=io.debezium.relational.history.MemorySchemaHistory \
            include.schema.changes=false snapshot.mode=initial poll.interval.ms=20 "${@:5}";;
    run)
        shift
        exec java -Xmx600m -cp "$HOME_OF_DEBEZIUM/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
            "$HERE/../../../connectors/kafka/testdata/Golden.java" "$1" "$2" name=golden \
            connector.class=io.debezium.connector.mysql.MySqlConnector \
            offset.storage=org.apache.kafka.connect.storage.MemoryOffsetBackingStore \
            schema.history.internal=io.debezium.relational.history.MemorySchemaHistory \
            include.schema.changes=false skipped.operations=none snapshot.mode=initial \
            key.converter.schemas.enable=true value.converter.schemas.enable=true "${@:3}";;
    *) die "usage: debezium.sh install | into BROKERS … | run OUT COUNT key=value…";;
esac

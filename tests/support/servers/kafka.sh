#!/usr/bin/env bash
# Apache Kafka (KRaft, one node) from its published jars: nothing is installed into the system. Each test server has
# its own data, ports and properties; the jars and a formatted data directory, which every broker copies, are shared.
# Usage: kafka.sh install
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/home.sh"
VERSION=4.3.1
LIBS=$SERVERS_HOME/kafka/libs-$VERSION
TEMPLATE=$SERVERS_HOME/kafka/template-$VERSION
# The user that the secured listeners know (tests/support/src/kafka.rs names both).
USER=lakeward
PASSWORD='S3cret-kafka+p@ss:w#rd'

libraries() {
    [ -d "$LIBS" ] && return
    tools mvn=maven
    say "downloading Kafka $VERSION (once, about 60 MB)"
    rm -rf "$LIBS.new"
    mkdir -p "$LIBS.new"
    mvn -q -B -f "$here/kafka.pom.xml" dependency:copy-dependencies -DoutputDirectory="$LIBS.new" >&2
    mv "$LIBS.new" "$LIBS"
}

# Formatting starts a Java machine for seconds: done once. The ports are no part of it (a fixed quorum of one).
template() {
    [ -d "$TEMPLATE" ] && return
    local new=$TEMPLATE.new
    say "formatting Kafka's data directory (once)"
    rm -rf "$new"
    mkdir -p "$new"
    printf '%s\n' process.roles=broker,controller node.id=1 log.dirs="$new/data" \
        listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2 controller.listener.names=CONTROLLER \
        controller.quorum.voters=1@127.0.0.1:2 \
        listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT > "$new/server.properties"
    java -cp "$LIBS/*" kafka.tools.StorageTool format --cluster-id lakeward-test-cluster00 \
        --config "$new/server.properties" --add-scram "SCRAM-SHA-256=[name=$USER,password=$PASSWORD]" \
        --add-scram "SCRAM-SHA-512=[name=$USER,password=$PASSWORD]" >&2
    rm "$new/server.properties"
    mv "$new" "$TEMPLATE"
}

install() {
    tools java=openjdk-17-jre-headless
    libraries
    template
}

case ${1:-} in
    install) locked kafka install;;
    *) die "usage: kafka.sh install";;
esac

#!/usr/bin/env bash
# Apache Kafka (KRaft, one node) from its published jars: nothing is installed into the system. Each test server has
# its own data, ports and properties; the jars and a formatted data directory, which every broker copies, are shared.
# Usage: kafka.sh install
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/home.sh"
VERSION=4.3.1
LIBS=$SERVERS_HOME/kafka/libs-$VERSION
TEMPLATE=$SERVERS_HOME/kafka/template-$VERSION
CLASSES=$SERVERS_HOME/kafka/classes-$VERSION-at-work.jsa
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

# The classes that a broker loads, as the Java machine shares them (AppCDS, JEP 350): each start then takes a third less.
# Without the archive, or where it does not fit, Java loads them as ever. Those that only work needs are noted, too: TLS,
# a login, transactions, a group.
classes() {
    [ -s "$CLASSES" ] && return
    local run=$CLASSES.run certificates=$SERVERS_HOME/mysql/template/certificates broker
    local scram='org.apache.kafka.common.security.scram.ScramLoginModule required'
    say "noting the classes that Kafka loads (once)"
    rm -rf "$run"
    mkdir -p "$run"
    cp -a "$TEMPLATE/data" "$run"
    cat "$certificates/server-key.pem" "$certificates/server-cert.pem" > "$run/server.pem"
    printf '%s\n' process.roles=broker,controller node.id=1 log.dirs="$run/data" \
        listeners=PLAINTEXT://127.0.0.1:18471,CONTROLLER://127.0.0.1:18472,SASL_SSL://127.0.0.1:18473 \
        controller.listener.names=CONTROLLER controller.quorum.voters=1@127.0.0.1:18472 \
        listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL \
        ssl.keystore.type=PEM ssl.keystore.location="$run/server.pem" sasl.enabled.mechanisms=SCRAM-SHA-256 \
        listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config="$scram;" offsets.topic.replication.factor=1 \
        transaction.state.log.replication.factor=1 transaction.state.log.min.isr=1 > "$run/server.properties"
    printf '%s\n' security.protocol=SASL_SSL ssl.truststore.type=PEM ssl.truststore.location="$certificates/ca.pem" \
        sasl.mechanism=SCRAM-SHA-256 sasl.jaas.config="$scram username=\"$USER\" password=\"$PASSWORD\";" \
        > "$run/client.properties"
    local java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$LIBS/*")
    "${java[@]}" -XX:ArchiveClassesAtExit="$run/classes.jsa" kafka.Kafka "$run/server.properties" > "$run/log" 2>&1 &
    broker=$!
    timeout 60 bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/18473) 2>/dev/null; do sleep 0.2; done' || true
    tool() { timeout 60 "${java[@]}" "org.apache.kafka.tools.$1" "${@:2}" >> "$run/log" 2>&1 || true; }
    tool ProducerPerformance --bootstrap-server 127.0.0.1:18473 --command-config "$run/client.properties" --topic t \
        --num-records 100 --record-size 100 --throughput -1 --transactional-id t
    tool consumer.ConsoleConsumer --bootstrap-server 127.0.0.1:18471 --topic t --group g --from-beginning \
        --max-messages 100 --timeout-ms 30000
    kill "$broker" || true
    wait "$broker" || true
    [ -s "$run/classes.jsa" ] && mv "$run/classes.jsa" "$CLASSES"
    rm -rf "$run"
}

install() {
    tools java=openjdk-17-jre-headless
    libraries
    template
    classes
}

case ${1:-} in
    install) locked kafka install;;
    *) die "usage: kafka.sh install";;
esac

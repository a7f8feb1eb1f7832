# Shared by the scripts beside it; sourced, never run. Linux and bash 4.4 or newer.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
default_dir=${TOLLWATCH_TESTS_KAFKA_DIR:-${TMPDIR:-/tmp}/tollwatch-kafka-$(id -u)}
libs_root=${TOLLWATCH_TESTS_KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/tollwatch/kafka}
# Other versions are another folder, so an old cache never serves new scripts.
libs=$libs_root/$(cat "$here/broker.xml" "$here/tools.xml" | sha256sum | cut -c1-12)

say() { echo "kafka: $*" >&2; }
die() { say "$*"; exit 1; }

# Exits with what to install unless a Java that Kafka 4 accepts is on PATH.
need_java() {
  local major
  command -v java > /dev/null || die "no java on PATH; run tests/kafka/install, or install Java 17 or newer"
  # `openjdk version "17.0.15"`, whatever a JAVA_TOOL_OPTIONS notice printed before it.
  major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n1)
  (( ${major:-0} >= 17 )) || die "java is version ${major:-unknown}; Kafka 4 needs 17 or newer (tests/kafka/install)"
}

# Puts the jars into $libs, once, however many callers ask at the same time.
fetch() {
  [[ -d $libs ]] && return
  command -v mvn > /dev/null || die "no mvn on PATH; run tests/kafka/install, or install maven"
  mkdir -p "$libs_root"
  (
    flock 9
    [[ -d $libs ]] && exit 0
    say "fetching the jars into $libs"
    part=$(mktemp -d "$libs_root/part.XXXXXX")
    trap 'rm -rf "$part"' EXIT
    # Maven's lock on its own repository is not safe across processes; ours is held meanwhile.
    for set in broker tools; do
      mvn -q -B -f "$here/$set.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$part/jars/$set" < /dev/null >&2 ||
        die "maven could not fetch the jars of $here/$set.xml"
    done
    mv "$part/jars" "$libs" # whole or not at all
  ) 9> "$libs_root/lock"
}

# short_java CLASSPATH CLASS ARG...: a Java program that is over soon; its log goes to stderr, errors only.
short_java() {
  java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$@"
}

# tool CLASS ARG...: one of Kafka's command-line tools.
tool() { short_java "$libs/tools/*" "$@"; }

# owns DIR N: the pid of DIR's broker N, if that process runs and is ours. A recycled pid or a zombie is not.
owns() {
  local pid args
  [[ -r $1/broker-$2.pid ]] || return
  pid=$(< "$1/broker-$2.pid")
  args=$({ tr '\0' ' ' < "/proc/$pid/cmdline"; } 2> /dev/null) || return
  [[ $args == *" kafka.Kafka $1/broker-$2/server.properties "* ]] && echo "$pid"
}

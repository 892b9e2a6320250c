#!/bin/sh
# Installs Debian's RabbitMQ where that is possible without a question: as root, with apt-get. Starts no server.
set -u
ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-* >/dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

# The package would start a node of its own, which listens on every address. This is Debian's way to forbid that.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
install="env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends rabbitmq-server"
log=$(mktemp)
$install >"$log" 2>&1 || { apt-get update -qq >"$log" 2>&1 && $install >>"$log" 2>&1; } || {
    tail -3 "$log"
    echo "RabbitMQ could not be installed; its tests are skipped"
}
rm -f "$log"
exit 0

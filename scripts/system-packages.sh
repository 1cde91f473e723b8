#!/bin/sh
# Installs the programs that some tests drive, where that is possible without asking: as root on Debian.
#
# Nothing is said when all are there. Where one cannot be installed, a line names the tests that need it.
set -eu

missing=""
for pair in redis-server:redis-server openssl:openssl chromium:chromium haproxy:haproxy; do
    command -v "${pair%%:*}" > /dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0

explain() {
    echo "castwork: $1; without them these tests cannot pass:" >&2
    for package in $missing; do
        case $package in
        redis-server) echo "  redis-server  tests on Redis itself, beside the embedded Valkey" >&2 ;;
        openssl) echo "  openssl       tests of TLS, which make certificates" >&2 ;;
        chromium) echo "  chromium      tests of the demo's page in a browser" >&2 ;;
        haproxy) echo "  haproxy       tests through a TCP proxy" >&2 ;;
        esac
    done
}

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null 2>&1; then
    explain "not installed, and only root on Debian can be helped here:$missing"
    exit 0
fi

# A package's service must not start, now or at the next boot: port 6379 is the user's.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM
fi

echo "castwork: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# shellcheck disable=SC2086 # one word per package
if { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } \
    < /dev/null > "$log" 2>&1; then
    for package in $missing; do
        case $package in
        chromium | openssl) continue ;;
        esac
        if command -v systemctl > /dev/null 2>&1; then
            systemctl disable "$package" > /dev/null 2>&1 || true
        elif command -v update-rc.d > /dev/null 2>&1; then
            update-rc.d "$package" disable > /dev/null 2>&1 || true
        fi
    done
else
    tail -n 5 "$log" >&2
    explain "could not install$missing"
fi
rm -f "$log"

#!/bin/sh
# Sees to it that there is a pgbouncer, for the tests of what a pooler does. No service
# is left running or enabled.
set -eu
cd "$(dirname "$0")/.."
if [ -n "$(PATH="$PATH:/usr/sbin" command -v pgbouncer)" ]; then
	exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing Debian package pgbouncer"
	sh -c "$(cat internal/stack/install/apt.sh)" holdfast-install update pgbouncer >/dev/null
	exit 0
fi
echo "the tests of a pooler need pgbouncer: install it, for example with: sudo apt-get install pgbouncer" >&2
exit 1

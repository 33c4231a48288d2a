#!/bin/sh
# Sees to it that there are prometheus and promtool, for the tests of deploy/prometheus. No
# service is left running or enabled.
set -eu
cd "$(dirname "$0")/.."
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
	exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing Debian package prometheus"
	sh -c "$(cat internal/stack/install/apt.sh)" holdfast-install update prometheus >/dev/null
	exit 0
fi
echo "the tests of the alert rules need prometheus and promtool: install them, for example with: sudo apt-get install prometheus" >&2
exit 1

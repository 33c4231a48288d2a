#!/bin/sh
# Sees to it that there are Node, npm and a Chromium, for the tests of the console in a
# browser. HOLDFAST_CHROMIUM may name one.
set -eu
cd "$(dirname "$0")/.."
sh scripts/node.sh
for name in "${HOLDFAST_CHROMIUM:-}" chromium chromium-browser google-chrome; do
	if [ -n "$name" ] && command -v "$name" >/dev/null; then
		exit 0
	fi
done
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing Debian package chromium"
	sh -c "$(cat internal/stack/install/apt.sh)" holdfast-install update chromium >/dev/null
	exit 0
fi
echo "the tests of the console in a browser need Chromium: install it, for example with: sudo apt-get install chromium" >&2
exit 1

#!/bin/sh
# Sees to it that there is a Node, for the test of examples/node-producer.
set -eu
if command -v node >/dev/null && command -v npm >/dev/null; then
	exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing Debian packages nodejs and npm"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nodejs npm >/dev/null
	exit 0
fi
echo "the producer in Node needs Node 18 or later, and npm: install them, for example with: sudo apt-get install nodejs npm" >&2
exit 1

#!/bin/sh
# Sees to it that go test -race works: it needs a C compiler.
set -eu
if command -v "$(go env CC)" >/dev/null; then
	exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing Debian packages gcc and libc6-dev"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends gcc libc6-dev >/dev/null
	exit 0
fi
echo "the race detector needs a C compiler: install one, for example with: sudo apt-get install gcc libc6-dev" >&2
exit 1

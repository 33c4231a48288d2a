#!/bin/sh
# Checks docker-compose.yml with docker-compose, which is installed where that is
# possible without a question.
set -eu
cd "$(dirname "$0")/.."
if docker compose version >/dev/null 2>&1; then
	compose="docker compose"
elif command -v docker-compose >/dev/null; then
	compose=docker-compose
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	echo "installing Debian package docker-compose"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends docker-compose >/dev/null
	compose=docker-compose
else
	echo "docker-compose is missing: install it, for example with: sudo apt-get install docker-compose" >&2
	exit 1
fi
$compose -f docker-compose.yml config >/dev/null
echo "docker-compose.yml: accepted by $($compose version | head -n 1)"

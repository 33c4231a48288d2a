#!/bin/sh
# Looks for known vulnerabilities in what the Go modules call, and in what
# examples/node-producer installs. Where a database cannot be reached it says NOT RUN,
# and does not fail.
set -eu
cd "$(dirname "$0")/.."
govulncheck="go tool -modfile=$PWD/tools/go.mod govulncheck"
failed=0
if $govulncheck -version | grep -q '^DB updated'; then
	for module in . bench; do
		(cd $module && $govulncheck ./...) || failed=1
	done
else
	echo "govulncheck NOT RUN: the vulnerability database, https://vuln.go.dev, cannot be reached" >&2
fi
cd examples/node-producer
if ! command -v npm >/dev/null; then
	echo "npm audit NOT RUN: there is no npm; make node installs it on Debian" >&2
elif npm audit --package-lock-only --json 2>/dev/null | grep -q '"auditReportVersion"'; then
	npm audit --package-lock-only || failed=1
else
	echo "npm audit NOT RUN: $(npm config get registry) cannot be reached, or does not answer audits" >&2
fi
exit $failed

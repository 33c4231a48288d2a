#!/bin/sh
# Says what has changed in the packages that users import since the last tag, or since
# the revision that is given. From version 1 on, an incompatible change is an error.
set -eu
cd "$(dirname "$0")/.."
base=${1:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
if [ -z "$base" ]; then
	echo "API compatibility NOT RUN: no tag yet" >&2
	exit 0
fi
tmp=$(mktemp -d)
trap 'git worktree remove --force "$tmp/base" 2>/dev/null || true; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
go build -modfile=tools/go.mod -o "$tmp/apidiff" golang.org/x/exp/cmd/apidiff
git worktree add -q --detach "$tmp/base" "$base"
module=$(go list -m)
failed=0
for package in "" /saga /barrier /worker /compensation /holdfasttest /keyring /metrics; do
	[ -d "$tmp/base$package" ] || continue # it is new
	(cd "$tmp/base" && "$tmp/apidiff" -w "$tmp/old" "$module$package")
	"$tmp/apidiff" "$tmp/old" "$module$package" >"$tmp/changes"
	if [ -s "$tmp/changes" ]; then
		printf '%s, since %s:\n' "$module$package" "$base"
		cat "$tmp/changes"
	fi
	if grep -q '^Incompatible changes' "$tmp/changes"; then failed=1; fi
done
case $base in
v0.* | *[!v0-9.]*) ;; # no promise yet, or only asked
*) exit $failed ;;
esac

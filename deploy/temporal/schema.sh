#!/bin/sh
# Creates and updates Temporal's two databases. Safe to repeat.
set -eu
sql() { temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u "$POSTGRES_USER" --pw "$POSTGRES_PWD" "$@"; }
for db in temporal:temporal temporal_visibility:visibility; do
	name=${db%%:*}
	schema=/etc/temporal/schema/postgresql/v12/${db##*:}/versioned
	sql --db "$name" create
	sql --db "$name" setup-schema -v 0.0
	sql --db "$name" update-schema -d "$schema"
done

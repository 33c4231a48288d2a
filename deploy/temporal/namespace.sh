#!/bin/sh
# Creates the namespace "default" and Holdfast's search attributes. Safe to
# repeat. The address comes from TEMPORAL_ADDRESS.
set -eu
until temporal operator cluster health; do sleep 1; done
temporal operator namespace describe -n default >/dev/null 2>&1 ||
	temporal operator namespace create -n default --retention 72h
until temporal operator search-attribute create -n default \
	--name HoldfastState --type Keyword \
	--name HoldfastTopic --type Keyword \
	--name HoldfastKey --type KeywordList; do
	# A new namespace takes some seconds to be known everywhere.
	sleep 1
done

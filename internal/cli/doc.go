// Package cli holds the commands of the program holdfast.
//
// A command reads its configuration from the environment and its flags, asks
// RabbitMQ, PostgreSQL or Temporal, and writes a table, or JSON where --json is
// given, to the standard output. Errors go to the standard error, with what to
// do about them. The exit status is 0, 1 for an error, 2 for a wrong usage.
//
//	cli.go      Main, the root command, exit statuses
//	config.go   what the environment says
//	errors.go   errors with a remedy, and how they are printed
//	connect.go  connections to Temporal and PostgreSQL
//	print.go    tables, colours, JSON
//	show.go     the commands that show one thing
//
//	dev.go      holdfast dev: the private stack; devrun.go: a command inside it
//	demo.go     holdfast demo
//	keep.go     holdfast keep
//	half.go     holdfast half; halfstats.go, halfpeek.go: below it; halfkeeper.go:
//	            a half queue, and how those are that keep it
//	migrate.go  holdfast migrate
//	doctor.go   holdfast doctor; doctor_*.go: the checks of each part
//	version.go  holdfast version
//
//	tx.go       holdfast tx; txlist.go, txshow.go, txact.go, txstart.go: below it
//	dead.go     holdfast dead; deadlist.go, deadgroup.go, deadshow.go, deadact.go: below it
//	deadquery.go, deaderror.go, deadjudge.go  which dead letters are meant, which
//	            errors are the same, what an answer means: pure
//	bulk.go, bulkask.go, bulksend.go  one action on many things: its flags, its
//	            questions, so many at a time
//	deadsend.go one action on many dead letters; deadverify.go: what came of it
//	deadlost.go letters whose workflow was ended from outside
//
//	saga.go     holdfast saga; sagalist.go, sagashow.go, sagastart.go, sagaact.go,
//	            sagadiagram.go: below it
//	sagaquery.go, saganext.go  which sagas are meant, what comes next: pure
//	sagarow.go  a saga and the workflow that undoes it, as one; sagafind.go: by ID
//	sagasend.go one action on many sagas; sagaundo.go: on those that have ended
//	sagaprint.go one saga for people
//
//	list.go     workflows as rows of a list; txprint.go: one transaction for people
//	ages.go     how long ago things began
//	query.go    what to ask Temporal's visibility store for: pure
//	find.go     which workflow an ID, or a business key, means
//	status.go   where a workflow stands
//	members.go  the transactions that share a workflow
//	history.go  a workflow's history as readable steps: pure; history_members.go: those
//	            of several transactions; history_saga.go: a saga's
package cli

// Package stack runs a private RabbitMQ, PostgreSQL and Temporal dev server
// (with its web UI) on loopback ports of their own. `holdfast dev`, the demo,
// the tests and the benchmarks stand on it. Instead of the dev server it can run
// the Temporal server as in production, with PostgreSQL persistence.
//
// Each of the three is a [Part]: it can be killed as a crash would, stopped, and
// started again on the same ports and data. A part whose address is in the
// environment (AMQP_URL, DATABASE_URL, TEMPORAL_ADDRESS) is *external*: it is
// checked and used, never started or stopped, and its field in [Stack] is nil.
//
// What is missing is installed: RabbitMQ and PostgreSQL as Debian packages,
// without leaving a system service behind that was not there before; the
// Temporal CLI, or the Temporal server, is built from source once and kept in
// the user's cache folder.
//
// # Files
//
//	stack.go      Start, Close, the addresses
//	part.go       one part: start, wait until ready, stop, kill
//	rabbitmq.go   postgres.go   temporal.go: what is particular to each
//	temporalserver.go  the Temporal server with PostgreSQL persistence
//	postgresdir.go  a data folder that PostgreSQL's user can reach
//	database.go   creating and dropping databases
//	external.go   parts that the environment names
//	temporalcli.go  the Temporal CLI: found, or built
//	folder.go     the data folder: its owner, its lock, its secrets
//	stale.go      what an owner that died left behind
//	watch.go      a dev server of Temporal that is stuck
//	ports.go      free ports that stay free while a part is down
//	tools.go      the servers' own command line tools
//
// # Rooms
//
//	process   one process: its log, its end, its descendants; nothing outlives its owner
//	install   getting what is missing
//	progress  the lines a user sees meanwhile
//	stacktest a stack for the tests of a package
package stack

// Bench measures Holdfast beside what it is to be compared with, on one machine
// and in one run: the limit (no coordination), the Express lane, cohorts, the
// Traced lane with a workflow for each transaction, an empty workflow, the usual way
// (a workflow with three activities), Watermill's outbox, publishing and
// consuming beside bare amqp091-go loops, what dead letters cost, and sagas beside
// the same written by hand as workflows, with DBOS Transact and with dtm, whose server
// is built from the module in the folder dtm.
//
//	cd bench && go run .                     # starts private servers, about 30 minutes
//	go run . -temporal dev                   # on Temporal's dev server
//	go run . -only traced,usual -seconds 3   # some of it
//	go run . -only lanes                     # a set: the Express lane, cohorts, and their peers
//	go run . -tables results/lanes.json      # what was measured, as Markdown
//	go run . -plot results/lanes.json        # and as plots, in docs/plots
//	go run . -doc ../docs/performance.md     # its tables anew, where it has markers for them
//	go run . -profile profiles               # with a CPU profile of each measurement
//
// Run it in this folder: it builds the program holdfast from the one above.
//
// Servers whose addresses are in AMQP_URL, DATABASE_URL and TEMPORAL_ADDRESS are
// used instead of private ones; what is made there is removed at the end, except
// workflow histories, which end with the namespace's retention.
//
// The private Temporal server is one as in production, with its data in
// PostgreSQL; building it takes some minutes, once. The dev server measures
// something else: one history shard, all of whose writes are serialised.
//
// The machine is shared and noisy: everything is measured in several rounds,
// the competitors one after the other within each round, every other round in
// the reverse order. The figures printed are medians of the rounds; a bar is
// the median of the rounds' ratios.
//
// Most competitors repeat an operation for as long as -seconds says. Consumers
// drain a backlog instead, which was published before: it takes as long as it
// takes.
//
// This folder has the command only: flags, and the run as a table of contents. The
// rest has rooms in internal:
//
//	measure       one measurement: a load, a backlog, arrivals; processor and memory
//	orders        the order that all competitors place
//	servers       the three servers, and a client of each
//	child         processes of this program: workers, participants
//	dtm           dtm's server, and the services that it calls
//	contest       what a competitor is, and the rounds
//	messages      publish, consume, backlogs, and bare loops of amqp091-go
//	transactions  limit, express, traced, cohorts, empty, usual, outbox, dtm's messages, undecided
//	deadletters   dead, dead-redeliver
//	sagas         saga-local, saga-mixed, both in the Express lane, the usual ways, and those of DBOS and dtm
//	competitors   the list of all of them, and the sets that -only knows
//	report        the results file, bars, tables, plots
//
// A room imports rooms above it only.
package main

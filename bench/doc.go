// Bench measures Holdfast beside what it is to be compared with, on one machine
// and in one run: the limit (no coordination), the Express lane, cohorts, the
// Traced lane with a workflow for each transaction, an empty workflow, the usual way
// (a workflow with three activities), Watermill's outbox, publishing and
// consuming beside bare amqp091-go loops, what dead letters cost, and sagas beside
// the same written by hand as workflows.
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
//	main.go      flags, the run as a table of contents
//	servers.go   the three servers, and a client of each
//	compete.go   what a competitor is, and the rounds
//	lanes.go     what belongs to the set "lanes"
//	limit.go  express.go  traced.go  empty.go  usual.go  outbox.go
//	undecided.go  backlogs.go  publish.go  consume.go
//	consumebare.go  dead.go  deadredeliver.go: the competitors
//	deadworker.go  the worker of the last two, a process of its own
//	undecidedworker.go  that of undecided.go, likewise
//	delivered.go  a load that is counted at the consumer
//	saga.go  sagausual.go: sagas, and the usual way of writing them
//	participant.go  the participants of sagas, a process of their own
//	child.go     a process of this program, as its parent has it
//	order.go     the order that all of them place
//	books.go     what sagas write, and whether it is all there
//	measure.go   one measurement: warm-up, window, end
//	drain.go     one measurement of a consumer: a backlog, from its first message to its last
//	stats.go     percentiles and medians
//	cpu.go       which processes used the processor meanwhile
//	memory.go    how much memory a process has
//	profile.go   CPU profiles of this process
//	bars.go      what the ratios have to be
//	table.go     what is printed
//	report.go    tables in Markdown, from the JSON file
//	plots.go  chart.go  plots, from the JSON file
//	results.go   what is written to the JSON file
package main

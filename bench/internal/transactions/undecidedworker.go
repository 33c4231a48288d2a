package transactions

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// undecidedWorkerEnv names the group of a child process: a worker that decides
// what a dead process of the group left, with the database that
// undecidedDatabaseEnv names. It is a process of its own so that its memory is
// nobody else's.
const (
	undecidedWorkerEnv   = "HOLDFAST_BENCH_UNDECIDED_WORKER"
	undecidedDatabaseEnv = "HOLDFAST_BENCH_UNDECIDED_DATABASE"
)

// undecidedCheckAfter is short, so that what is measured is the work and not the
// wait for the last halves to be old enough.
const undecidedCheckAfter = time.Second

// UndecidedWorker is the role of the worker's process.
var UndecidedWorker = child.Role{Env: undecidedWorkerEnv, Run: runUndecidedWorker}

// runUndecidedWorker answers every line, and first of all, with its memory.
func runUndecidedWorker(group string, in io.Reader, out io.Writer) error {
	temporal, err := child.Temporal()
	if err != nil {
		return err
	}
	defer temporal.Close()
	db, err := servers.OpenPool(os.Getenv(undecidedDatabaseEnv), servers.PoolSize)
	if err != nil {
		return err
	}
	w, err := worker.New(worker.Options{Group: group, Temporal: temporal, DB: db, Prefix: os.Getenv("HOLDFAST_PREFIX"),
		Lane: holdfast.Express, CheckAfter: undecidedCheckAfter})
	if err != nil {
		return err
	}
	stop, err := servers.RunWorker(context.Background(), w)
	if err != nil {
		return err
	}
	defer stop()
	answer := func() error {
		m, err := measure.ReadMemory()
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(m)
	}
	err = answer()
	for lines := bufio.NewScanner(in); err == nil && lines.Scan(); err = answer() {
	}
	return err
}

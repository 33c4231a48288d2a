package deadletters

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync/atomic"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/bench/internal/child"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
	"github.com/holdfastmq/holdfast/worker"
)

// workerEnv names the consumer of a child process: a worker whose consumer
// refuses every message, until it is told to heal. It is a process of its own so
// that its memory is nobody else's. The other settings are the usual ones.
const workerEnv = "HOLDFAST_BENCH_DEAD_WORKER"

// askHeal tells the worker to handle messages from now on. It answers this, as
// every line, with its state, and gives the first one when it is ready.
const askHeal = "heal"

// workerState is how the worker is.
type workerState struct {
	Memory  measure.Memory `json:"memory"`
	Refused int64          `json:"refused"`
	Handled int64          `json:"handled"`
}

var errSick = holdfast.Permanent(errors.New("the order cannot be read: it has no customer"))

// Worker is the role of the worker's process.
var Worker = child.Role{Env: workerEnv, Run: runWorker}

func runWorker(consumer string, in io.Reader, out io.Writer) error {
	temporal, err := child.Temporal()
	if err != nil {
		return err
	}
	defer temporal.Close()
	w, err := worker.New(worker.Options{Group: consumer, Temporal: temporal, Prefix: os.Getenv("HOLDFAST_PREFIX")})
	if err != nil {
		return err
	}
	var refused, handled atomic.Int64
	var healed atomic.Bool
	w.Consume(worker.Consumer{Name: consumer, Topics: []string{servers.TopicOf(consumer)},
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
			if !healed.Load() {
				refused.Add(1)
				return errSick
			}
			handled.Add(1)
			return nil
		}})
	stop, err := servers.RunWorker(context.Background(), w)
	if err != nil {
		return err
	}
	defer stop()
	measure.ResetPeak()
	answer := func() error {
		m, err := measure.ReadMemory()
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(workerState{m, refused.Load(), handled.Load()})
	}
	err = answer()
	for lines := bufio.NewScanner(in); err == nil && lines.Scan(); err = answer() {
		if lines.Text() == askHeal {
			healed.Store(true)
		}
	}
	return err
}

// deadWorker is such a process, as its parent has it.
type deadWorker struct {
	*child.Process
	consumer string
	ready    workerState // when it was ready
}

// startWorker starts one on the servers and waits until it is ready.
func startWorker(ctx context.Context, s *servers.Servers, consumer string) (*deadWorker, error) {
	d := &deadWorker{consumer: consumer}
	var err error
	if d.Process, err = child.Start(ctx, s, &d.ready, Worker, consumer); err != nil {
		return nil, err
	}
	return d, nil
}

// ask sends one of the questions and returns the answer.
func (d *deadWorker) ask(ctx context.Context, question string) (state workerState, err error) {
	err = d.Process.Ask(ctx, question, &state)
	return state, err
}

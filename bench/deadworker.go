package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// deadWorkerEnv names the consumer of a child process: a worker whose consumer
// refuses every message, until it is told to heal. It is a process of its own so
// that its memory is nobody else's. The other settings are the usual ones.
const deadWorkerEnv = "HOLDFAST_BENCH_DEAD_WORKER"

// What a dead worker is asked, a line each; it answers each with a
// deadWorkerState, and the first one when it is ready.
const (
	askState = "state"
	askHeal  = "heal" // handle from now on
)

// deadWorkerState is how a dead worker is.
type deadWorkerState struct {
	Memory  memory `json:"memory"`
	Refused int64  `json:"refused"`
	Handled int64  `json:"handled"`
}

var errSick = holdfast.Permanent(errors.New("the order cannot be read: it has no customer"))

// deadWorkerMain is the main function of such a process. It ends when its
// standard input does, that is, with its parent at the latest.
func deadWorkerMain(consumer string) int {
	signal.Ignore(os.Interrupt) // the terminal's; the parent has it, too
	if err := runDeadWorker(consumer, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runDeadWorker(consumer string, in io.Reader, out io.Writer) error {
	o, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		return err
	}
	o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	temporal, err := client.Dial(o)
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
	w.Consume(worker.Consumer{Name: consumer, Topics: []string{topicOf(consumer)},
		HandleAtLeastOnce: func(context.Context, holdfast.Message) error {
			if !healed.Load() {
				refused.Add(1)
				return errSick
			}
			handled.Add(1)
			return nil
		}})
	stop, err := runWorker(context.Background(), w)
	if err != nil {
		return err
	}
	defer stop()
	resetPeak()
	answer := func() error {
		m, err := readMemory()
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(deadWorkerState{m, refused.Load(), handled.Load()})
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
	consumer string
	ready    deadWorkerState // when it was ready

	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
	stderr  bytes.Buffer
}

// startDeadWorker starts one on the servers and waits until it is ready.
func startDeadWorker(ctx context.Context, s *servers, consumer string) (*deadWorker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	d := &deadWorker{consumer: consumer, cmd: exec.Command(self)}
	d.cmd.Env = append(s.env(), deadWorkerEnv+"="+consumer)
	d.cmd.Stderr = &d.stderr
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.answers = json.NewDecoder(out)
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if d.ready, err = d.answer(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// ask sends one of the questions and returns the answer.
func (d *deadWorker) ask(ctx context.Context, question string) (deadWorkerState, error) {
	if _, err := fmt.Fprintln(d.in, question); err != nil {
		return deadWorkerState{}, d.lost(err)
	}
	return d.answer(ctx)
}

// answer reads an answer. When ctx is done first, the process is killed.
func (d *deadWorker) answer(ctx context.Context) (deadWorkerState, error) {
	defer context.AfterFunc(ctx, func() { _ = d.cmd.Process.Kill() })()
	var state deadWorkerState
	if err := d.answers.Decode(&state); err != nil {
		return state, d.lost(errors.Join(err, ctx.Err()))
	}
	return state, nil
}

func (d *deadWorker) lost(err error) error {
	return fmt.Errorf("the worker process does not answer: %w", err)
}

// stop ends the process and waits for it; it is killed if it takes too long. What
// it wrote to its standard error is in the error.
func (d *deadWorker) stop() error {
	_ = d.in.Close()
	kill := time.AfterFunc(deadWorkerStop, func() { _ = d.cmd.Process.Kill() })
	defer kill.Stop()
	if err := d.cmd.Wait(); err != nil {
		return fmt.Errorf("the worker process: %w: %s", err, bytes.TrimSpace(d.stderr.Bytes()))
	}
	return nil
}

const deadWorkerStop = 45 * time.Second // longer than a worker drains

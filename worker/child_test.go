package worker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
)

// childEnv holds a childConfig: this process is a test's child then.
const childEnv = "HOLDFAST_TEST_CHILD"

// Instants of the application's own.
const (
	insideLocal      = "test.inside-local"       // in the local transaction, its writes done
	beforeBarrier    = "test.before-barrier"     // split: begun, nothing done
	afterSplitCommit = "test.after-split-commit" // split: committed, not confirmed
	insideHandler    = "test.inside-handler"     // in the consumer's transaction, its writes done
	insideUndo       = "test.inside-undo"        // in the transaction of a consumer's Undo, its writes done
	insideStep       = "test.inside-step"        // in the transaction of a saga's Do, its writes done
	insideStepUndo   = "test.inside-step-undo"   // in that of its Undo
	insideCompensate = "test.inside-compensate"  // in the transaction of the group's Compensate, its writes done
)

// What a child does.
const (
	roleProducer = "producer" // sends one transaction in the given form
	roleConsumer = "consumer" // consumes
	roleKeeper   = "keeper"   // serves the group, and sends nothing
	roleTreks    = "treks"    // runs sagas, and starts one
	roleSeats    = "seats"    // takes part in them
)

const (
	formInline     = "inline"
	formRegistered = "registered"
	formSplit      = "split"
	formCohort     = "cohort" // many, with IDs that Send makes
	formMany       = "many"   // the same, each on its own
)

// childConfig says what a child process is to do, and where it is to die.
type childConfig struct {
	Place             place
	Role, Form, Fault string
	Lane              string
	SagaLane          holdfast.Lane
	Cohorts           bool // its sagas share workflows
	Tx                string
	Refuse            bool // the consumer's handler fails for good
	Fail              bool // the consumer's handler fails, and is tried again after retryDelay
	Undoes            bool // the consumer is "stock", which has an Undo
	Poison            bool // the handler of a message with the key "poison" kills its process
	Lazy              bool // without eager start
	Nth               int  // the arrival at Fault at which it dies; 0: the first
	Back              bool // the saga is to be undone
	Plain             bool // the local transaction leaves the message as it is
	Alone             bool // without Temporal
}

// childMain is the main function of a child process. Unless it is killed, it
// ends when its standard input does, that is, with its parent at the latest.
func childMain(config string) int {
	var c childConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if c.Fault != "" {
		killAt(c.Fault, c.Nth)
	}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// killAt makes the process die when it comes to a point for the nth time.
func killAt(point string, nth int) {
	var seen atomic.Int32
	fault.Set(func(at string) {
		if at == point && int(seen.Add(1)) >= nth {
			fault.Kill()
		}
	})
}

func (c childConfig) run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if c.Role == roleSeats {
		return c.takeSeats(ctx, log)
	}
	if c.Role == roleConsumer {
		w, err := worker.New(worker.Options{AMQPURL: c.Place.AMQPURL, Prefix: c.Place.Prefix, Logger: log})
		if err != nil {
			return err
		}
		db, err := dialDB(c.Place.EffectsURL)
		if err != nil {
			return err
		}
		w.Consume(c.consumer(db))
		return c.serve(ctx, w, nil)
	}
	if c.Alone {
		return c.runAlone(ctx, log)
	}
	temporal, err := client.DialContext(ctx, (&cable{lazy: c.Lazy}).options(c.Place.Temporal, c.Place.Namespace, sdklog.NewStructuredLogger(log)))
	if err != nil {
		return err
	}
	defer temporal.Close()
	orders, err := dialDB(c.Place.OrdersURL)
	if err != nil {
		return err
	}
	o := laneOf(c.Lane).options(c.Place.options(temporal, orders, log))
	c.unhurried(&o)
	if o.Tuning.MaxSagaCohort = 1; c.Cohorts {
		o.Tuning.MaxSagaCohort = 48
	}
	w, err := worker.New(o)
	if err != nil {
		return err
	}
	w.Local("place", insertAndPass)
	w.Compensate(placed, refund)
	if c.Role == roleTreks {
		w.Saga(trekIn(c.SagaLane))
		return c.serve(ctx, w, func() error { return c.trek(ctx, w) })
	}
	if c.Role == roleKeeper {
		return c.serve(ctx, w, nil)
	}
	return c.serve(ctx, w, func() error { return c.send(ctx, w, orders) })
}

// runAlone sends in the Express lane, without Temporal.
func (c childConfig) runAlone(ctx context.Context, log *slog.Logger) error {
	orders, err := dialDB(c.Place.OrdersURL)
	if err != nil {
		return err
	}
	o := laneOf("express").options(c.Place.options(nil, orders, log))
	c.unhurried(&o)
	w, err := worker.New(o)
	if err != nil {
		return err
	}
	return c.serve(ctx, w, func() error { return c.send(ctx, w, orders) })
}

// unhurried gives a producer the time to come to its fault: nobody decides about its
// transaction before.
func (c childConfig) unhurried(o *worker.Options) {
	if c.Role == roleProducer {
		o.CheckAfter = time.Hour // its own Keeper's: the next one counts anew
	}
	if c.Form == formSplit {
		o.CheckBack.Delays = []time.Duration{20 * time.Second}
	}
	if c.Lazy {
		o.Timeouts.Reach = 10 * time.Second
	}
}

// serve runs w, says when it is ready, and does the work.
func (c childConfig) serve(ctx context.Context, w *worker.Worker, work func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	fmt.Println("ready")
	if work != nil {
		if err := work(); err != nil {
			return err
		}
		fmt.Println("sent")
	}
	return <-ended
}

func (c childConfig) send(ctx context.Context, w *worker.Worker, orders *gorm.DB) (err error) {
	m := order(c.Tx)
	switch c.Form {
	case formCohort:
		return sendCohort(ctx, w)
	case formMany:
		var sending errgroup.Group
		for i := range cohortOf {
			sending.Go(func() error {
				_, err := w.Send(ctx, plain(i), insertAndPass)
				return err
			})
		}
		return sending.Wait()
	case formRegistered:
		_, err = w.Start(ctx, "place", m)
	case formSplit:
		var split *worker.Split
		if split, err = w.Begin(ctx, 0, m); err != nil {
			return err
		}
		fault.Point(beforeBarrier)
		if err = orders.Transaction(func(tx *gorm.DB) error {
			if _, err := split.Barrier(ctx, tx); err != nil {
				return err
			}
			if err := split.Store(ctx, tx, func(ms []holdfast.Message) error { complete(&ms[0]); return nil }); err != nil {
				return err
			}
			return insertAndPass(ctx, tx, &m)
		}); err != nil {
			return err
		}
		fault.Point(afterSplitCommit)
		_, err = split.Commit(ctx)
	default:
		_, err = w.Send(ctx, m, c.insert)
	}
	return err
}

// sendCohort sends transactions that share a workflow.
func sendCohort(ctx context.Context, w *worker.Worker) error {
	release := w.HoldCohorts()
	var sending errgroup.Group
	for i := range cohortOf {
		sending.Go(func() error {
			_, err := w.Send(ctx, plain(i), insertAndPass)
			return err
		})
	}
	for w.Gathered() < cohortOf {
		runtime.Gosched()
	}
	release()
	return sending.Wait()
}

// complete changes a message as a local transaction may: what is delivered must
// be this, whoever delivers it.
func complete(m *holdfast.Message) { m.Key = "C-" + m.ID }

// insert is the local transaction of a transaction that is sent.
func (c childConfig) insert(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
	if c.Plain {
		return insert(ctx, tx, m)
	}
	return insertAndPass(ctx, tx, m)
}

func insertAndPass(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
	complete(m)
	err := insert(ctx, tx, m)
	fault.Point(insideLocal)
	return err
}

// child is a running child process.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.Closer
	ready chan struct{} // closed when its worker is ready
	dead  chan struct{} // closed when it has ended

	mu  sync.Mutex
	log []string
}

// child starts a child process of this test.
func (s *site) child(c childConfig) *child {
	s.t.Helper()
	c.Place = s.at
	config, err := json.Marshal(c)
	require.NoError(s.t, err)
	binary, err := os.Executable()
	require.NoError(s.t, err)
	p := &child{t: s.t, cmd: exec.Command(binary, "-test.run=^$"), ready: make(chan struct{}), dead: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(config))
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(s.t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(s.t, err)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, p.cmd.Start())
	var readers sync.WaitGroup
	readers.Go(func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if lines.Text() == "ready" {
				close(p.ready)
			}
		}
	})
	readers.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.note(lines.Text())
		}
	})
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.dead)
	}()
	s.t.Cleanup(p.stop)
	return p
}

func (p *child) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, line)
}

func (p *child) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// awaitReady waits until the child's worker is ready.
func (p *child) awaitReady() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-p.dead:
		require.FailNow(p.t, "the child ended before it was ready", "%v\n%s", p.cmd.ProcessState, p.said())
	case <-time.After(patience):
		require.FailNow(p.t, "the child is never ready", p.said())
	}
}

// killedInTime is killed, but a child that has not come to its fault for a minute is killed where it
// is. It reports whether it came to it.
func (p *child) killedInTime() (came bool) {
	p.t.Helper()
	select {
	case <-p.dead:
		came = true
	case <-time.After(time.Minute):
		_ = p.cmd.Process.Kill()
	}
	p.killed()
	return came
}

// killed waits until the child has died at its fault, by SIGKILL.
func (p *child) killed() {
	p.t.Helper()
	select {
	case <-p.dead:
	case <-time.After(patience):
		require.FailNow(p.t, "the child does not come to its fault", p.said())
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(p.t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL,
		"the child did not die by SIGKILL: %v\n%s", p.cmd.ProcessState, p.said())
}

// stop ends a child that was not killed.
func (p *child) stop() {
	_ = p.stdin.Close()
	select {
	case <-p.dead:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.dead
	}
}

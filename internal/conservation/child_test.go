package conservation

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// childEnv holds a childConfig: this process is a child of the test's then.
const childEnv = "HOLDFAST_TEST_CONSERVATION"

// childConfig says what a process is.
type childConfig struct {
	AMQPURL, Prefix, Group, Temporal, Namespace string
	// Name is orders for a process that runs the sagas, or a participant.
	Name     string
	Database string
	// MaxCohort is how many sagas share a workflow at most.
	MaxCohort int
}

// command is a line that a child is told. Its standard input's end is its own.
type command struct {
	// Follow is a saga to start, if it is not there, and to wait for.
	Follow *following `json:"follow,omitempty"`
	// Steer is a saga of which an operator asks something.
	Steer *steering `json:"steer,omitempty"`
	// Point is where to die, at the how manieth time.
	Point string `json:"point,omitempty"`
	Hit   int    `json:"hit,omitempty"`
}

type following struct {
	N     int   `json:"n"`
	Shape int   `json:"shape"`
	Order order `json:"order"`
}

// steering is what an operator asks of a saga by its handle: an Update's name.
type steering struct {
	following
	Ask    string `json:"ask"`
	Reason string `json:"reason"`
}

// report is a line that a child says.
type report struct {
	Ready bool `json:"ready,omitempty"`
	// N is a saga that is started, or has ended with these words, or of which something was asked.
	N     int    `json:"n"`
	Ended string `json:"ended,omitempty"`
	Asked string `json:"asked,omitempty"`
	// Done says that what was asked was done, and not refused.
	Done bool `json:"done,omitempty"`
}

// The words for an end.
const (
	completed   = "completed"
	compensated = "compensated"
)

func childMain(config string) int {
	var c childConfig
	err := json.Unmarshal([]byte(config), &c)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the child ends:", err)
		return 1
	}
	return 0
}

func (c childConfig) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := openBooks(c.Database)
	if err != nil {
		return err
	}
	o := worker.Options{AMQPURL: c.AMQPURL, Prefix: c.Prefix, DB: b.DB, Logger: log, Timeouts: worker.Timeouts{Drain: 10 * time.Second}}
	if c.Name != orders {
		b.slow = 1300 * time.Millisecond // longer than a reply is waited for in memory
		w, err := worker.New(o)
		if err != nil {
			return err
		}
		w.Participate(participant(c.Name, b))
		return c.serve(ctx, cancel, w, nil)
	}
	temporal, err := client.DialContext(ctx, client.Options{HostPort: c.Temporal, Namespace: c.Namespace, Logger: sdklog.NewStructuredLogger(log)})
	if err != nil {
		return err
	}
	defer temporal.Close()
	b.slow = 200 * time.Millisecond
	o.Group, o.Temporal, o.Namespace = c.Group, temporal, c.Namespace
	o.Timeouts.Task, o.Timeouts.Send = 5*time.Second, time.Minute
	defs := shapes(b)
	o.Lanes, o.Tuning.MaxSagaCohort = map[string]holdfast.Lane{}, c.MaxCohort
	for i, def := range defs {
		if i%3 == 1 {
			o.Lanes["saga/"+def.Name] = holdfast.Express
		}
	}
	w, err := worker.New(o)
	if err != nil {
		return err
	}
	for _, def := range defs {
		w.Saga(def)
	}
	return c.serve(ctx, cancel, w, func(told command) {
		if told.Follow != nil {
			follow(ctx, w, defs[told.Follow.Shape], *told.Follow)
		} else {
			steer(ctx, w, defs[told.Steer.Shape], *told.Steer)
		}
	})
}

// serve runs w, and does what the test says until that has nothing more to say.
func (c childConfig) serve(ctx context.Context, cancel context.CancelFunc, w *worker.Worker, do func(command)) error {
	var followers sync.WaitGroup
	defer followers.Wait()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	say(report{Ready: true})
	go func() {
		defer cancel()
		lines := bufio.NewScanner(os.Stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var told command
			if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
				panic(err)
			}
			switch {
			case told.Follow != nil, told.Steer != nil:
				followers.Go(func() { do(told) })
			case told.Point != "":
				dieAt(told.Point, int64(told.Hit))
			}
		}
	}()
	return <-ended
}

// dieAt kills this process when it comes to point for the given time.
func dieAt(point string, hit int64) {
	var n atomic.Int64
	fault.Set(func(at string) {
		if at == point && n.Add(1) == hit {
			fault.Kill()
		}
	})
}

var saying sync.Mutex

func say(r report) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	saying.Lock()
	defer saying.Unlock()
	fmt.Println(string(line))
}

// follow starts a saga, or finds that it is there, and says how it ends.
func follow(ctx context.Context, w *worker.Worker, def saga.Saga[order], f following) {
	for again := false; ctx.Err() == nil; again = true {
		if again {
			pause(ctx, 200*time.Millisecond)
		}
		h, err := worker.StartSaga(ctx, w, def, f.Order)
		if err != nil {
			slog.Warn("not started", "saga", f.N, "error", err)
			continue
		}
		if !again {
			say(report{N: f.N})
		}
		switch _, err = h.Wait(ctx); {
		case err == nil:
			say(report{N: f.N, Ended: completed})
			return
		case errors.Is(err, holdfast.ErrSagaCompensated):
			say(report{N: f.N, Ended: compensated})
			return
		}
		// It is parked: an operator mends it.
	}
}

// steer asks something of a saga by its handle, until it is done or refused, and says so.
func steer(ctx context.Context, w *worker.Worker, def saga.Saga[order], s steering) {
	h := worker.JoinSaga(w, def, s.Order.ID)
	by := worker.By{Operator: "ann", Reason: s.Reason}
	ask := map[string]func(context.Context, worker.By) error{workflows.UpdateCompensate: h.Compensate,
		sagas.UpdatePause: h.Pause, sagas.UpdateResume: h.Resume}[s.Ask]
	for ctx.Err() == nil {
		err := ask(ctx, by)
		if err == nil || errors.Is(err, holdfast.ErrInvalid) {
			say(report{N: s.N, Asked: s.Ask, Done: err == nil})
			return
		}
		slog.Warn("not asked", "saga", s.N, "ask", s.Ask, "error", err)
		pause(ctx, 200*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

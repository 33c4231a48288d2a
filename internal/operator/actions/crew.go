package actions

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Limits of one Update.
const (
	// AnswerLimit is how long its answer is waited for.
	AnswerLimit = 20 * time.Second
	// lingerLimit is how long those that are under way may go on after an
	// interruption, so that it is known what became of them.
	lingerLimit = 5 * time.Second
)

// Crew does one action to many workflows, so many at a time.
type Crew struct {
	Parallel int
	// wait is how long to wait for what comes of it; 0: only until it is
	// accepted.
	Wait time.Duration
	// answer is how long an Update's answer is waited for, beside the wait that
	// it asks for itself.
	Answer time.Duration
	// tick is called after each one that the action was sent to, and after each
	// one whose end is known. From many goroutines.
	Tick func()

	Silent atomic.Int64 // Updates without an answer, one after the other
}

// NoAnswer is the detail where an Update was not answered in time.
const NoAnswer = "no answer in time"

// ErrSilence ends an action that nobody answers.
var ErrSilence = errors.New("no answer to many in a row")

// Send does one to each of n. When ctx ends, it begins no more; what it returns
// is true all the same.
func (c *Crew) Send(ctx context.Context, n int, one func(ctx context.Context, i int) Outcome) []Outcome {
	all := make([]Outcome, n)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	underWay, end := linger(ctx, lingerLimit)
	defer end()
	var lanes errgroup.Group
	lanes.SetLimit(c.Parallel)
	for i := range all {
		lanes.Go(func() error {
			if ctx.Err() != nil {
				all[i] = Outcome{Outcome: Unsent, Detail: unsentBecause(ctx)}
			} else {
				all[i] = one(underWay, i)
				if c.Silent.Load() >= int64(max(c.Parallel, 8)) {
					stop(ErrSilence)
				}
			}
			c.Tick()
			return nil
		})
	}
	_ = lanes.Wait() // the outcomes tell
	return all
}

func unsentBecause(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrSilence):
		return "stopped: " + cause.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		return "the command's time was over"
	}
	return "interrupted"
}

// linger returns a context that ends later than ctx by so much, or with end.
func linger(ctx context.Context, limit time.Duration) (later context.Context, end func()) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-later.Done():
		}
	})
	return later, func() {
		cancel()
		stop()
	}
}

// Explain says what an Update's error means for what is in that state; show is the
// command that says more of it, in backticks.
func (c *Crew) Explain(o Outcome, err error, state, show string) Outcome {
	var refused *temporal.ApplicationError
	switch {
	case err == nil:
		return o
	case errors.As(err, &refused):
		c.Silent.Store(0)
		return Outcome{Outcome: Refused, State: state, Detail: refused.Message(), Remedy: show + " says what can be done"}
	case server.TimedOut(err) || errors.Is(err, context.Canceled):
		c.Silent.Add(1)
		return Outcome{Outcome: Unknown, Detail: NoAnswer, Pending: true}
	}
	c.Silent.Store(0)
	return Outcome{Outcome: Unknown, Detail: text.Of(err)}
}

// Verify has look taken at what was accepted until all of it is over, or the wait
// is.
func (c *Crew) Verify(ctx context.Context, all []Outcome, look func(ctx context.Context, i int)) {
	if c.Wait == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	for pause := server.FirstPause; ; pause = min(2*pause, server.MostPause) {
		left := 0
		var lanes errgroup.Group
		lanes.SetLimit(c.Parallel)
		for i := range all {
			if !all[i].Pending {
				continue
			}
			left++
			lanes.Go(func() error {
				if ctx.Err() == nil {
					look(ctx, i)
				}
				return nil
			})
		}
		_ = lanes.Wait() // the outcomes tell
		if left == 0 {
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

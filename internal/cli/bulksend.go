package cli

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/temporal"
	"golang.org/x/sync/errgroup"
)

// Limits of one Update.
const (
	// answerLimit is how long its answer is waited for.
	answerLimit = 20 * time.Second
	// lingerLimit is how long those that are under way may go on after an
	// interruption, so that it is known what became of them.
	lingerLimit = 5 * time.Second
)

// crew does one action to many workflows, so many at a time.
type crew struct {
	parallel int
	// wait is how long to wait for what comes of it; 0: only until it is
	// accepted.
	wait time.Duration
	// answer is how long an Update's answer is waited for, beside the wait that
	// it asks for itself.
	answer time.Duration
	// tick is called after each one that the action was sent to, and after each
	// one whose end is known. From many goroutines.
	tick func()

	silent atomic.Int64 // Updates without an answer, one after the other
}

const noAnswer = "no answer in time"

// errSilence ends an action that nobody answers.
var errSilence = errors.New("no answer to many in a row")

// send does one to each of n. When ctx ends, it begins no more; what it returns
// is true all the same.
func (c *crew) send(ctx context.Context, n int, one func(ctx context.Context, i int) outcome) []outcome {
	all := make([]outcome, n)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	underWay, end := linger(ctx, lingerLimit)
	defer end()
	var lanes errgroup.Group
	lanes.SetLimit(c.parallel)
	for i := range all {
		lanes.Go(func() error {
			if ctx.Err() != nil {
				all[i] = outcome{Outcome: isUnsent, Detail: unsentBecause(ctx)}
			} else {
				all[i] = one(underWay, i)
				if c.silent.Load() >= int64(max(c.parallel, 8)) {
					stop(errSilence)
				}
			}
			c.tick()
			return nil
		})
	}
	_ = lanes.Wait() // the outcomes tell
	return all
}

func unsentBecause(ctx context.Context) string {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilence):
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

// explain says what an Update's error means for what is in that state; show is the
// command that says more of it, in backticks.
func (c *crew) explain(o outcome, err error, state, show string) outcome {
	var refused *temporal.ApplicationError
	switch {
	case err == nil:
		return o
	case errors.As(err, &refused):
		c.silent.Store(0)
		return outcome{Outcome: isRefused, State: state, Detail: refused.Message(), Remedy: show + " says what can be done"}
	case timedOut(err) || errors.Is(err, context.Canceled):
		c.silent.Add(1)
		return outcome{Outcome: isUnknown, Detail: noAnswer, pending: true}
	}
	c.silent.Store(0)
	return outcome{Outcome: isUnknown, Detail: text(err)}
}

// verify has look taken at what was accepted until all of it is over, or the wait
// is.
func (c *crew) verify(ctx context.Context, all []outcome, look func(ctx context.Context, i int)) {
	if c.wait == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		left := 0
		var lanes errgroup.Group
		lanes.SetLimit(c.parallel)
		for i := range all {
			if !all[i].pending {
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

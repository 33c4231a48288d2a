package activities

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfastmq/holdfast/internal/brief"
)

// cohortPatience is how long a cohort waits for its local transactions at most.
const cohortPatience = time.Second

// slowAfter is how long a cohort waits for its local transactions, where half of
// them have ended after half.
func slowAfter(half, patience time.Duration) time.Duration {
	return min(2*half+30*time.Millisecond, patience)
}

const (
	// halfPatience is how long a cohort waits for the rest of its half messages.
	halfPatience = 5 * time.Second
	// answerTime is how long before its own time is over a step about many answers
	// for each: a step that is timed out has failed for all.
	answerTime = 2 * time.Second
)

var errStraggler = errors.New("the others of its cohort were stored long before")

// stragglers bounds a step about n, so that it ends some time after stored was
// called for half of them.
func (a *Transactions) stragglers(ctx context.Context, n int) (_ context.Context, stored, cancel func()) {
	ctx, stop := inTime(ctx, n)
	ctx, giveUp := context.WithCancelCause(ctx)
	patience := halfPatience
	if a.Patience > 0 {
		patience = a.Patience
	}
	var waiting atomic.Int32
	waiting.Store(int32(n+1) / 2)
	stored = func() {
		if waiting.Add(-1) == 0 && n > 1 {
			timer := time.AfterFunc(patience, func() { giveUp(errStraggler) })
			context.AfterFunc(ctx, func() { timer.Stop() })
		}
	}
	return ctx, stored, func() { giveUp(nil); stop() }
}

// inTime bounds a step about n by a little less than its own time, unless n is 1.
func inTime(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	if deadline, has := ctx.Deadline(); has && n > 1 {
		return context.WithDeadline(ctx, deadline.Add(-answerTime))
	}
	return context.WithCancel(ctx)
}

// The limits on what a step about many answers, in bytes of JSON: Temporal refuses
// results of 2 MiB.
const (
	maxChanged = 768 << 10 // changed messages, of all members together
	maxError   = 2 << 10   // the error of one member
)

// localCohort runs the local transactions of a cohort, all at once. Those that
// are slow go on after it has returned: they end with their callers' contexts, or
// when the step's own time has passed.
func (a *Transactions) localCohort(ctx context.Context, in StepInput) []LocalResult {
	type ended struct {
		i      int
		result LocalResult
	}
	run, cancel := outliving(ctx)
	n, begun, results := len(in.Transactions), time.Now(), make(chan ended, len(in.Transactions))
	out := make([]LocalResult, n)
	var running atomic.Int32
	running.Store(int32(n))
	for i, tx := range in.Transactions {
		out[i] = LocalResult{ID: tx.ID, Running: true, Error: "it takes longer than its cohort waits"}
		go func() {
			results <- ended{i, a.Locals.RunLocal(run, in.Group, tx)}
			if running.Add(-1) == 0 {
				cancel()
			}
		}()
	}
	patience := cohortPatience
	if a.Patience > 0 {
		patience = a.Patience
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for got := 0; got < n; {
		select {
		case e := <-results:
			out[e.i] = e.result
			if got++; got == (n+1)/2 && a.Patience == 0 {
				half := time.Since(begun)
				timer.Reset(slowAfter(half, patience) - half)
			}
		case <-timer.C:
			return fitting(out)
		case <-ctx.Done(): // nobody waits for this step any more
			cancel()
			return fitting(out)
		}
	}
	return fitting(out)
}

// outliving returns a context that does not end when ctx is cancelled, but at its
// deadline, if it has one.
func outliving(ctx context.Context) (context.Context, context.CancelFunc) {
	out := context.WithoutCancel(ctx)
	if deadline, has := ctx.Deadline(); has {
		return context.WithDeadline(out, deadline)
	}
	return context.WithCancel(out)
}

// fitting leaves out of results what would make them larger than Temporal takes.
// The outcome row has the messages that are left out.
func fitting(results []LocalResult) []LocalResult {
	size := 0
	for i := range results {
		r := &results[i]
		r.Error = brief.Text(r.Error, maxError)
		if len(r.Messages) == 0 {
			continue
		}
		data, err := json.Marshal(r.Messages)
		if err != nil || size+len(data) > maxChanged {
			*r = LocalResult{ID: r.ID,
				Error: "its changed messages are too large for a history of many: a check-back reads them from the outcome row"}
			continue
		}
		size += len(data)
	}
	return results
}

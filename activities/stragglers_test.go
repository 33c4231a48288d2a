package activities

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// publishFunc stores half messages, or publishes messages.
type publishFunc func(ctx context.Context, txID string) error

func (f publishFunc) PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error)) {
	var all sync.WaitGroup
	for i, h := range hs {
		all.Go(func() { done(i, f(ctxs[i], h.TxID)) })
	}
	all.Wait()
}
func (f publishFunc) PublishMessages(ctx context.Context, _, txID string, _ []holdfast.Message) error {
	return f(ctx, txID)
}

func (f publishFunc) Settle(string, string, holdfast.Resolution) {}

// stuck is confirmed never, the others at once.
func stuck(ctx context.Context, txID string) error {
	if txID != "stuck" {
		return nil
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestStuckHalf: it is given up, and the others are not.
func TestStuckHalf(t *testing.T) {
	t.Parallel()
	a := &Transactions{Patience: time.Millisecond, Halves: publishFunc(stuck)}
	got, err := a.HalfSend(t.Context(), cohortOf("1", "stuck", "2"))
	require.NoError(t, err)
	require.Equal(t, []StepResult{{ID: "1"}, {ID: "stuck", Error: errStraggler.Error()}, {ID: "2"}}, got)
}

// TestStepAnswersInTime: what is stuck in a step about many is given up before the
// step's own time is over, which would be an answer for none. Whoever is alone has
// all the time there is.
func TestStepAnswersInTime(t *testing.T) {
	t.Parallel()
	deadlines := make(chan time.Time, 10)
	publish := publishFunc(func(ctx context.Context, _ string) error {
		deadline, _ := ctx.Deadline()
		deadlines <- deadline
		return nil
	})
	a := &Transactions{Patience: time.Millisecond, Halves: publish, Publish: publish, Ops: publish}
	end := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	for _, step := range []func(context.Context, StepInput) ([]StepResult, error){a.HalfSend, a.Commit} {
		_, err := step(ctx, cohortOf("1", "2"))
		require.NoError(t, err)
		require.Equal(t, end.Add(-answerTime), <-deadlines)
		require.Equal(t, end.Add(-answerTime), <-deadlines)
		_, err = step(ctx, cohortOf("1"))
		require.NoError(t, err)
		require.Equal(t, end, <-deadlines)
	}
}

// TestNothingIsLeftToDeliver: where all messages were delivered before, none is published,
// and the half queue may forget the transaction.
func TestNothingIsLeftToDeliver(t *testing.T) {
	t.Parallel()
	a := &Transactions{Publish: publishFunc(func(context.Context, string) error { return errStraggler }), Ops: publishFunc(nil)}
	in := StepInput{Transactions: []Tx{{ID: "1", Messages: []holdfast.Message{{ID: "1"}}, Delivered: []string{"1"}}}}
	got, err := a.Commit(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, []StepResult{{ID: "1"}}, got)
	in.Transactions[0].Delivered = nil
	got, err = a.Commit(t.Context(), in)
	require.NoError(t, err)
	require.NotEmpty(t, got[0].Error)
}

package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

// localsFunc runs a local transaction.
type localsFunc func(ctx context.Context, tx Tx) LocalResult

func (f localsFunc) RunLocal(ctx context.Context, _ string, tx Tx) LocalResult { return f(ctx, tx) }

func cohortOf(ids ...string) StepInput {
	in := StepInput{Group: "orders", Cohort: true}
	for _, id := range ids {
		in.Transactions = append(in.Transactions, Tx{ID: id})
	}
	return in
}

func TestSlowAfter(t *testing.T) {
	t.Parallel()
	require.Equal(t, 30*time.Millisecond, slowAfter(0, time.Second))
	require.Equal(t, 50*time.Millisecond, slowAfter(10*time.Millisecond, time.Second))
	require.Equal(t, time.Second, slowAfter(time.Minute, time.Second))
}

// TestSlowIsLeftBehind: its context ends with the step's time, not with the step.
func TestSlowIsLeftBehind(t *testing.T) {
	t.Parallel()
	release, ended := make(chan struct{}), make(chan error, 1)
	a := &Transactions{Patience: 2 * time.Second, Locals: localsFunc(func(ctx context.Context, tx Tx) LocalResult {
		if tx.ID == "slow" {
			<-release
			ended <- ctx.Err()
		}
		return LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	got, err := a.LocalTransaction(ctx, cohortOf("1", "slow", "2"))
	require.NoError(t, err)
	cancel()
	close(release)
	require.NoError(t, <-ended)
	require.Equal(t, []string{"1", "slow", "2"}, []string{got[0].ID, got[1].ID, got[2].ID})
	require.Equal(t, []bool{false, true, false}, []bool{got[0].Running, got[1].Running, got[2].Running})
	require.Equal(t, holdfast.Unknown, got[1].Resolution)
}

// TestHalfIsQuick: the rest gets about as long again.
func TestHalfIsQuick(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	a := &Transactions{Locals: localsFunc(func(_ context.Context, tx Tx) LocalResult {
		if tx.ID == "slow" {
			<-release
		}
		return LocalResult{ID: tx.ID, Resolution: holdfast.Commit}
	})}
	got, err := a.LocalTransaction(t.Context(), cohortOf("1", "2", "slow"))
	require.NoError(t, err)
	require.True(t, got[2].Running)
}

// TestAllSlow: a cohort waits no longer than its patience.
func TestAllSlow(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	a := &Transactions{Locals: localsFunc(func(context.Context, Tx) LocalResult { <-release; return LocalResult{} })}
	got, err := a.LocalTransaction(t.Context(), cohortOf("1", "2"))
	require.NoError(t, err)
	require.True(t, got[0].Running && got[1].Running)
}

// TestCohortStepIsOver: nobody waits for the step any more, so nothing runs on.
func TestCohortStepIsOver(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	a := &Transactions{Locals: localsFunc(func(ctx context.Context, tx Tx) LocalResult {
		cancel()
		<-ctx.Done()
		close(ended)
		return LocalResult{}
	})}
	_, err := a.LocalTransaction(ctx, cohortOf("1"))
	require.NoError(t, err)
	<-ended
}

func TestResultsFit(t *testing.T) {
	t.Parallel()
	a := &Transactions{Patience: time.Hour, Locals: localsFunc(func(_ context.Context, tx Tx) LocalResult {
		return LocalResult{ID: tx.ID, Resolution: holdfast.Commit, Error: strings.Repeat("é", 10_000),
			Messages: []holdfast.Message{{ID: tx.ID, Topic: "order.placed", Body: []byte(strings.Repeat("a", 200<<10))}}}
	})}
	got, err := a.LocalTransaction(t.Context(), cohortOf("1", "2", "3", "4", "5"))
	require.NoError(t, err)
	data, err := json.Marshal(got)
	require.NoError(t, err)
	require.Less(t, len(data), 1<<20)
	require.Len(t, got[2].Messages, 1)
	require.Equal(t, LocalResult{ID: "4", Error: got[3].Error}, got[3], "undecided: a check-back reads its row")
	require.Contains(t, got[3].Error, "outcome row")
}

func TestErrorsFit(t *testing.T) {
	t.Parallel()
	got := stepResult(Tx{ID: "1"}, fmt.Errorf("%w: %s", holdfast.ErrUnroutable, strings.Repeat("ü", maxError)))
	require.LessOrEqual(t, len(got.Error), maxError+len("…"))
	require.True(t, utf8.ValidString(got.Error))
	require.True(t, got.Hopeless)
}

package activities_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
)

// port fails as it is told to, and knows what it was asked for.
type port struct {
	err    error
	calls  int
	alerts []holdfast.Alert
}

func (p *port) Redeliver(context.Context, activities.Redelivery) (activities.Redelivered, error) {
	p.calls++
	return activities.Redelivered{}, p.err
}

func (p *port) PublishCompensated(context.Context, holdfast.DeadLetter) error {
	p.calls++
	return p.err
}

func (p *port) Compensate(context.Context, activities.Compensation) (bool, error) {
	p.calls++
	return true, p.err
}

func (p *port) Alert(a holdfast.Alert) { p.alerts = append(p.alerts, a) }

func environment(p *port) *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	steps := &activities.DeadLetters{Redeliver: p, Notify: p, Compensations: p, Alerts: p}
	steps.Register(env)
	steps.RegisterGroup(env)
	return env
}

func TestWhatRepetitionDoesNotCure(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		kind string // empty: it is retried
	}{
		"queue gone":  {fmt.Errorf("%w: no queue q", holdfast.ErrUnroutable), "Unroutable"},
		"too large":   {fmt.Errorf("%w: 2 MiB", holdfast.ErrTooLarge), "TooLarge"},
		"invalid":     {fmt.Errorf("%w: topic", holdfast.ErrInvalid), "Invalid"},
		"no handler":  {fmt.Errorf("%w: register one", holdfast.ErrNotFound), "NotFound"},
		"permanent":   {fmt.Errorf("compensate: %w", holdfast.Permanent(errors.New("spent"))), "Permanent"},
		"broker away": {errors.New("connection refused"), ""},
		"cancelled":   {context.Canceled, ""},
		"none":        {nil, ""},
	} {
		for step, arg := range map[string]any{
			activities.Redeliver:  activities.Redelivery{N: 1},
			activities.Compensate: holdfast.DeadLetter{ID: "1"},
			activities.Notify:     holdfast.DeadLetter{ID: "1"},
		} {
			t.Run(name+"/"+step, func(t *testing.T) {
				p := &port{err: tc.err}
				_, err := environment(p).ExecuteActivity(step, arg)
				require.Equal(t, 1, p.calls)
				if tc.err == nil {
					require.NoError(t, err)
					return
				}
				var failure *temporal.ApplicationError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, tc.kind != "", failure.NonRetryable())
				require.Equal(t, tc.err.Error(), failure.Message())
				if tc.kind != "" {
					require.Equal(t, tc.kind, failure.Type())
				}
			})
		}
	}
}

func TestKeptLettersAreNotRedelivered(t *testing.T) {
	p := &port{}
	_, err := environment(p).ExecuteActivity(activities.Redeliver, activities.Redelivery{N: 1, Letter: holdfast.DeadLetter{ID: "m-1", Kept: "dead.oversized", Size: 2000000}})
	require.ErrorContains(t, err, "message m-1 has 2000000 bytes, too many for a workflow: the whole of it is in queue dead.oversized")
	require.Zero(t, p.calls, "its beginning is not the message")
}

func TestCompensateSaysWhetherItWasDoneBefore(t *testing.T) {
	v, err := environment(&port{}).ExecuteActivity(activities.Compensate, holdfast.DeadLetter{})
	require.NoError(t, err)
	var repeated bool
	require.NoError(t, v.Get(&repeated))
	require.True(t, repeated)
}

// TestAlertOnASharedWorker: both sets of steps have the step Alert, and share
// the worker of a producer group.
func TestAlertOnASharedWorker(t *testing.T) {
	alert := holdfast.Alert{Kind: holdfast.AlertParked, ID: "1"}
	for name, register := range map[string]func(*testsuite.TestActivityEnvironment, *port){
		"transactions with alerts": func(env *testsuite.TestActivityEnvironment, p *port) {
			(&activities.Transactions{Alerts: p}).Register(env)
		},
		"both": func(env *testsuite.TestActivityEnvironment, p *port) {
			(&activities.Transactions{Alerts: p}).Register(env)
			(&activities.DeadLetters{Alerts: p}).RegisterGroup(env)
		},
		"dead letters with alerts": func(env *testsuite.TestActivityEnvironment, p *port) {
			(&activities.Transactions{}).Register(env)
			(&activities.DeadLetters{Alerts: p}).RegisterGroup(env)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			env, p := suite.NewTestActivityEnvironment(), &port{}
			register(env, p)
			_, err := env.ExecuteActivity(activities.Alert, alert)
			require.NoError(t, err)
			require.Equal(t, []holdfast.Alert{alert}, p.alerts)
		})
	}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	(&activities.Transactions{}).Register(env)
	_, err := env.ExecuteActivity(activities.Alert, alert)
	require.NoError(t, err, "nobody is told")

	c, err := client.NewLazyClient(client.Options{})
	require.NoError(t, err)
	defer c.Close()
	w, p := worker.New(c, "holdfast.orders", worker.Options{}), &port{}
	(&activities.Transactions{Alerts: p}).Register(w)
	require.NotPanics(t, func() { (&activities.DeadLetters{Alerts: p}).RegisterGroup(w) })
}

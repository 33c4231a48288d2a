package sagas_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/sagas"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

func activityStep(name string) core.Step {
	return core.Step{Name: name, Kind: core.Activity, Type: "book", UndoType: "unbook", Undo: true}
}

// booking are the user's activities.
type booking struct {
	inputs []core.ActivityInput
	book   func(n int) (any, error)
	tried  int
}

func (p *play) booking(b *booking) {
	p.RegisterActivityWithOptions(func(_ context.Context, in core.ActivityInput) (any, error) {
		b.inputs = append(b.inputs, in)
		b.tried++
		if b.book != nil {
			return b.book(b.tried)
		}
		return "booked", nil
	}, activity.RegisterOptions{Name: "book"})
	p.RegisterActivityWithOptions(func(_ context.Context, in core.ActivityInput) error {
		b.inputs = append(b.inputs, in)
		return nil
	}, activity.RegisterOptions{Name: "unbook"})
}

func TestSagaActivity(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), activityStep("flight"), localStep("b")))
	p.in.Plan.Steps[1].Receives = true
	b := &booking{}
	p.booking(b)
	p.on("do b", refusal)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.JSONEq(t, `{"amount":5,"a":1,"flight":"booked"}`, string(s.Core.Data))
	require.Equal(t, []string{"do a", "prepare flight", "receive flight", "do b", "prepare flight", "undo a"}, p.calls)
	require.Len(t, b.inputs, 2)
	require.Equal(t, core.ActivityInput{Saga: p.in.ID, Step: "flight", Data: json.RawMessage(`{"a":1,"amount":5}`)}, b.inputs[0])
	require.True(t, b.inputs[1].Undo)
	require.Equal(t, "step b was refused: out of stock", p.steps[4].Cause, "no condition is asked for an Undo")
}

func TestSagaActivityOutcomes(t *testing.T) {
	for name, x := range map[string]struct {
		book   func(n int) (any, error)
		state  string
		tries  int
		class  holdfast.ErrorClass
		reason string
	}{
		"refused": {func(int) (any, error) {
			return nil, temporal.NewApplicationError("no seat", sagas.RefusedType)
		}, core.StateCompensated, 1, "", "no seat"},
		"permanent": {func(int) (any, error) {
			return nil, temporal.NewNonRetryableApplicationError("no such flight", "", nil)
		}, core.StateCompensated, 1, holdfast.ClassPermanent, "no such flight"},
		"failing": {func(int) (any, error) { return nil, errors.New("busy") }, core.StateCompensated, 2, holdfast.ClassError, "busy"},
		"panic":   {func(int) (any, error) { panic("bug") }, core.StateCompensated, 2, holdfast.ClassPanic, "panic: bug"},
		"again": {func(n int) (any, error) {
			if n == 1 {
				return nil, errors.New("busy")
			}
			return nil, nil
		}, core.StateCompleted, 2, "", ""},
		"a key is missing": {func(n int) (any, error) { // which does not count: two tries are allowed
			if n < 5 {
				return nil, temporal.NewApplicationError("no key", core.KeyMissingType)
			}
			return nil, nil
		}, core.StateCompleted, 5, "", ""},
		"cancelled by itself": {func(n int) (any, error) {
			if n == 1 {
				return nil, temporal.NewCanceledError()
			}
			return nil, nil
		}, core.StateCompleted, 2, "", ""},
		"nothing to take": {func(int) (any, error) { return nil, nil }, core.StateCompleted, 1, "", ""},
		"bytes":           {func(int) (any, error) { return []byte{1}, nil }, core.StateCompensated, 1, holdfast.ClassPermanent, "its result is no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			p := stageOf(t, sagaOf(activityStep("flight")))
			p.in.Plan.Steps[0].Receives = true
			p.in.Plan.Steps[0].Retry = core.Retry{Attempts: 2}
			p.booking(&booking{book: x.book})
			s := p.run()
			require.Equal(t, x.state, s.State)
			require.Equal(t, x.tries, s.Core.Steps["flight"].Tries)
			if x.reason != "" {
				require.Contains(t, s.Core.Cause.Reason, x.reason)
				require.Equal(t, x.class, s.Core.Cause.Class)
			}
		})
	}
}

func TestSagaActivitySkippedByCondition(t *testing.T) {
	p := stageOf(t, sagaOf(activityStep("flight"), localStep("b")))
	p.in.Plan.Steps[0].Conditional = true
	p.on("prepare flight", core.Outcome{Kind: core.OutcomeSkipped})
	p.on("do b", refusal)
	b := &booking{}
	p.booking(b)
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Empty(t, b.inputs, "neither done nor undone")
}

// An operator need not wait for an activity that no worker takes.
func TestSagaActivityStopped(t *testing.T) {
	p := stageOf(t, sagaOf(localStep("a"), activityStep("flight")))
	b := &booking{}
	p.booking(b)
	p.OnActivity("book", testAny, testAny).After(time.Hour).Return("booked", nil)
	p.ask(time.Minute, workflows.UpdateCompensate, ann(""))
	s := p.run()
	require.Equal(t, core.StateCompensated, s.State)
	require.Len(t, b.inputs, 1)
	require.True(t, b.inputs[0].Undo, "it may have been done")
	require.Equal(t, core.Undone, s.Core.Steps["flight"].Status)
	require.Equal(t, "ann: because", s.Reason)
}

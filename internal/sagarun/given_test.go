package sagarun_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

// TestALocalUndoIsGivenWhatItsDoWas: by the step row, whatever the saga knows.
func TestALocalUndoIsGivenWhatItsDoWas(t *testing.T) {
	t.Parallel()
	db := database(t)
	r := newRig(t, db, rooms(takeRoom, func(_ context.Context, tx *gorm.DB, s *trip) error {
		if err := note(tx, "left %s for %s", s.Room, s.Who); err != nil {
			return err
		}
		s.Room = "none"
		return nil
	}))
	s := r.step("rooms", "room", `{"who":"ann"}`)
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
	s.Data = json.RawMessage(`{"who":"bob"}`)
	require.Equal(t, core.OutcomeDone, r.do(s).Kind, "of a run that was lost")
	for range 2 {
		s.Data = json.RawMessage(`{"who":"eve","room":"99"}`)
		o := r.undo(s)
		require.Equal(t, core.OutcomeDone, o.Kind, o.Error)
		require.JSONEq(t, `{"room":"none"}`, string(o.Patch), "also where its answer was lost")
	}
	require.Equal(t, []string{"left 12 for ann", "room for ann"}, notes(t, db))
}

// TestUndoUncertainOfALocalStep: it is run once, although the Do has no row.
func TestUndoUncertainOfALocalStep(t *testing.T) {
	t.Parallel()
	db := database(t)
	charged := 0
	charge := func(context.Context, *gorm.DB, *trip) error { charged++; return errOops }
	refund := func(_ context.Context, tx *gorm.DB, s *trip) error { return note(tx, "refund %s", s.Who) }
	r := newRig(t, db, saga.Saga[trip]{Name: "sure", Steps: []saga.Step[trip]{saga.Local("charge", charge, refund)}},
		saga.Saga[trip]{Name: "unsure", Steps: []saga.Step[trip]{saga.Local("charge", charge, refund).UndoUncertain()}})
	for name, want := range map[string]core.OutcomeKind{"sure": core.OutcomeBlocked, "unsure": core.OutcomeDone} {
		s := r.step(name, "charge", `{"who":"`+name+`"}`)
		o := r.do(s)
		require.Equal(t, core.OutcomeFailed, o.Kind)
		require.False(t, o.Nothing, "nobody knows what it did outside")
		for range 2 {
			require.Equal(t, want, r.undo(s).Kind)
		}
		require.Equal(t, core.OutcomeBlocked, r.do(s).Kind, "a late Do")
	}
	require.Equal(t, []string{"refund unsure"}, notes(t, db))
	require.Equal(t, 2, charged)
}

// TestUndoUncertainOfAParticipant: as of a local step.
func TestUndoUncertainOfAParticipant(t *testing.T) {
	t.Parallel()
	r, db := seated(t, func(_ context.Context, tx *gorm.DB, m holdfast.Message) (any, error) {
		return nil, tx.Exec("INSERT INTO no_such_table VALUES (1)").Error // charged, by HTTP
	})
	r.wire.participant.UndoUncertain = true
	s := r.seat(`{"who":"ann"}`)
	require.Equal(t, core.OutcomeFailed, r.do(s).Kind)
	for range 2 {
		require.Equal(t, core.OutcomeDone, r.undo(s).Kind)
	}
	require.Equal(t, core.OutcomeBlocked, r.do(s).Kind)
	require.Equal(t, []string{`undo {"who":"ann"}`}, notes(t, db))
}

// TestWhatProvablyDidNothing says so; whatever may have been sent does not.
func TestWhatProvablyDidNothing(t *testing.T) {
	t.Parallel()
	sends := func(f func(trip) float64) saga.StepDef {
		return saga.Message("seat", "seat.take", "seat.leave").Send(saga.From(f))
	}
	for name, c := range map[string]struct {
		step    saga.StepDef
		err     error // of publishing
		nothing bool
	}{
		"no JSON":              {sends(func(trip) float64 { return math.NaN() }), nil, true},
		"a panic of Send":      {sends(func(trip) float64 { panic("oops") }), nil, true},
		"too large":            {saga.Message("seat", "seat.take", "seat.leave").Send(saga.From(func(trip) string { return strings.Repeat("b", holdfast.MaxBody) })), nil, true},
		"a panic of When":      {saga.Message("seat", "seat.take", "seat.leave").When(saga.If(func(trip) bool { panic("oops") })), nil, true},
		"a local When":         {saga.Local("seat", takeRoom, leaveRoom).When(saga.If(func(trip) bool { panic("oops") })), nil, true},
		"an activity's input":  {saga.Activity("seat", "Do", "Undo").Send(saga.From(func(trip) float64 { return math.NaN() })), nil, true},
		"refused while sent":   {sends(func(trip) float64 { return 1 }), holdfast.ErrTooLarge, false},
		"permanent while sent": {sends(func(trip) float64 { return 1 }), holdfast.Permanent(errOops), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, database(t), saga.Saga[trip]{Name: "seats", Steps: []saga.Step[trip]{c.step}})
			r.wire.err = c.err
			s := r.step("seats", "seat", `{}`)
			o := r.do(s)
			if s.Step.Kind == core.Activity {
				o = r.Prepare(t.Context(), s).Outcome
			}
			require.Equal(t, core.OutcomeFailed, o.Kind)
			require.Equal(t, c.nothing, o.Nothing, o.Error)
		})
	}
}

// TestTheToldEndIsThePresentState: a step that is tried again is given an older one.
func TestTheToldEndIsThePresentState(t *testing.T) {
	t.Parallel()
	r := newRig(t, database(t), rooms(takeRoom, leaveRoom))
	s := r.step("rooms", "room", `{"who":"ann"}`)
	s.Present, s.Last = json.RawMessage(`{"who":"ann","seat":"4a"}`), true
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
	require.JSONEq(t, `{"who":"ann","seat":"4a","room":"12"}`, r.ended[s.Saga.ID])
}

// TestAnUndoAsksItsWitnesses: of a call that only a lost run made, the row of the
// step before it knows the amount.
func TestAnUndoAsksItsWitnesses(t *testing.T) {
	t.Parallel()
	db := database(t)
	none := func(context.Context, *gorm.DB, *trip) error { return nil }
	r := newRig(t, db, saga.Saga[trip]{Name: "trips", Steps: []saga.Step[trip]{
		saga.Local("room", takeRoom, none), saga.Local("train", none, none), saga.Message("seat", "seat.take", "seat.leave")}})
	require.Equal(t, core.OutcomeDone, r.do(r.step("trips", "room", `{"who":"ann"}`)).Kind)
	s := r.step("trips", "seat", `{"who":"ann"}`)
	s.Cause, s.Witnesses = "lost", []string{"train", "room"}
	r.undo(s)
	require.JSONEq(t, `{"who":"ann","room":"12"}`, string(r.wire.sent[0].Body))

	s.Witnesses = []string{"train"}
	r.undo(s)
	require.JSONEq(t, `{"who":"ann"}`, string(r.wire.sent[1].Body), "nobody knows more than the saga")
}

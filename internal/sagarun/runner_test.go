package sagarun_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

// rooms is a saga with one local step whose functions a test gives.
func rooms(do, undo func(ctx context.Context, tx *gorm.DB, s *trip) error) saga.Saga[trip] {
	return saga.Saga[trip]{Name: "rooms", Steps: []saga.Step[trip]{saga.Local("room", do, undo)}}
}

func takeRoom(_ context.Context, tx *gorm.DB, s *trip) error {
	s.Room = "12"
	return note(tx, "room for %s", s.Who)
}

func leaveRoom(_ context.Context, tx *gorm.DB, s *trip) error {
	return note(tx, "left %s", s.Room)
}

func TestLocalStep(t *testing.T) {
	t.Parallel()
	db := database(t)
	r := newRig(t, db, rooms(takeRoom, leaveRoom))
	s := r.step("rooms", "room", `{"who":"ann"}`)
	s.Last = true
	for n := range 2 { // the second time the row answers
		out := r.Do(t.Context(), s)
		require.Equal(t, n == 0, out.First)
		o := out.Outcome
		require.Equal(t, core.OutcomeDone, o.Kind, o.Error)
		require.JSONEq(t, `{"room":"12"}`, string(o.Patch))
	}
	require.JSONEq(t, `{"who":"ann","room":"12"}`, r.ended[s.Saga.ID])

	s.Cause = "no seat"
	for range 2 {
		require.Equal(t, core.Outcome{Kind: core.OutcomeDone}, r.undo(s))
	}
	require.Equal(t, []string{"left 12", "room for ann"}, notes(t, db), "its Undo saw what it did, which the saga did not know")
	o := r.do(s)
	require.Equal(t, core.OutcomeBlocked, o.Kind)
	require.Contains(t, o.Error, "no seat")
}

func TestUndoBeforeDo(t *testing.T) {
	t.Parallel()
	db := database(t)
	r := newRig(t, db, rooms(takeRoom, leaveRoom))
	s := r.step("rooms", "room", `{}`)
	s.Cause = "changed her mind"
	for range 2 {
		require.Equal(t, core.OutcomeBlocked, r.undo(s).Kind, "there was nothing to undo, and there will not be")
	}
	out := r.Do(t.Context(), s)
	require.Equal(t, core.OutcomeBlocked, out.Outcome.Kind)
	require.False(t, out.First)
	require.Empty(t, notes(t, db))
	require.Empty(t, r.ended)
}

func TestHowALocalStepFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(context.Context) error
		want core.Outcome
	}{
		"error":     {func(context.Context) error { return errOops }, core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassError, Error: "oops"}},
		"permanent": {func(context.Context) error { return holdfast.Permanent(errOops) }, core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "oops"}},
		"panic":     {func(context.Context) error { panic("oops") }, core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPanic, Error: "panic: oops"}},
		"timeout": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassTimeout, Error: "context deadline exceeded"}},
		"refusal": {func(context.Context) error { return saga.Refuse("full") }, core.Outcome{Kind: core.OutcomeRefused, Error: "full"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := database(t)
			fail := func(ctx context.Context, tx *gorm.DB, s *trip) error {
				return errors.Join(takeRoom(ctx, tx, s), c.do(ctx))
			}
			r := newRig(t, db, rooms(fail, leaveRoom))
			s := r.step("rooms", "room", `{}`)
			s.Last, s.Step.Timeout = true, time.Second
			out := r.Do(t.Context(), s)
			require.True(t, out.First, "nothing was done before")
			o := out.Outcome
			require.Equal(t, c.want.Kind, o.Kind, o.Error)
			require.Equal(t, c.want.Class, o.Class)
			require.Contains(t, o.Error, c.want.Error)
			require.Empty(t, notes(t, db))
			require.Empty(t, r.ended)
		})
	}
}

func TestARefusalIsRememberedUntilAskedAgain(t *testing.T) {
	t.Parallel()
	db := database(t)
	full := true
	r := newRig(t, db, rooms(func(ctx context.Context, tx *gorm.DB, s *trip) error {
		if full {
			return saga.Refuse("full")
		}
		return takeRoom(ctx, tx, s)
	}, leaveRoom))
	s := r.step("rooms", "room", `{}`)
	require.Equal(t, core.OutcomeRefused, r.do(s).Kind)
	full = false
	require.Equal(t, core.OutcomeRefused, r.do(s).Kind)
	s.Again = true
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
}

func TestHowAnUndoFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		undo  func() error
		class holdfast.ErrorClass
		text  string
	}{
		"error":   {func() error { return errOops }, holdfast.ClassError, "oops"},
		"panic":   {func() error { panic("oops") }, holdfast.ClassPanic, "oops"},
		"refusal": {func() error { return saga.Refuse("too late") }, holdfast.ClassPermanent, "an Undo must not refuse: too late"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := database(t)
			r := newRig(t, db, rooms(takeRoom, func(context.Context, *gorm.DB, *trip) error { return c.undo() }))
			s := r.step("rooms", "room", `{}`)
			require.Equal(t, core.OutcomeDone, r.do(s).Kind)
			o := r.undo(s)
			require.Equal(t, core.OutcomeFailed, o.Kind)
			require.Equal(t, c.class, o.Class)
			require.Contains(t, o.Error, c.text)
		})
	}
}

func TestConditionOfALocalStep(t *testing.T) {
	t.Parallel()
	db := database(t)
	byTrain := saga.If(func(s trip) bool { return s.Train })
	r := newRig(t, db, saga.Saga[trip]{Name: "trips", Steps: []saga.Step[trip]{
		saga.Local("room", takeRoom, leaveRoom).When(byTrain),
		saga.Local("seat", takeRoom, leaveRoom).When(saga.If(func(trip) bool { panic("oops") })),
	}})
	s := r.step("trips", "room", `{"who":"ann"}`)
	s.Last = true
	require.Equal(t, core.Outcome{Kind: core.OutcomeSkipped}, r.do(s))
	require.JSONEq(t, `{"who":"ann"}`, r.ended[s.Saga.ID])
	require.Empty(t, notes(t, db))

	s.Data = []byte(`{"who":"bob","train":true}`)
	require.Equal(t, core.OutcomeDone, r.do(s).Kind)
	s.Data, s.Try = []byte(`{"who":"bob"}`), 2
	require.Equal(t, core.OutcomeDone, r.do(s).Kind, "it was done: the condition does not count any more")
	require.Equal(t, []string{"room for bob"}, notes(t, db))

	o := r.do(r.step("trips", "seat", `{}`))
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.Equal(t, holdfast.ClassPanic, o.Class)
}

func TestAStateThatDoesNotFit(t *testing.T) {
	t.Parallel()
	r := newRig(t, database(t), rooms(takeRoom, leaveRoom))
	o := r.do(r.step("rooms", "room", `{"who":1}`))
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.Equal(t, holdfast.ClassPermanent, o.Class)
	require.Contains(t, o.Error, "does not fit its type")
}

func TestATooLargeStateIsNotTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, database(t), rooms(func(_ context.Context, _ *gorm.DB, s *trip) error {
		s.Big = strings.Repeat("b", core.MaxData*3/4)
		return nil
	}, leaveRoom))
	s := r.step("rooms", "room", `{"unknown":"`+strings.Repeat("u", core.MaxData*3/4)+`"}`)
	s.Last = true
	require.Equal(t, core.OutcomeDone, r.do(s).Kind, "together they are too much, which the saga will see")
	require.Empty(t, r.ended)
}

func TestAVersionThatIsNotHere(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, rooms(takeRoom, leaveRoom))
	s := r.step("rooms", "room", `{}`)
	s.Saga.Version = 3
	for _, f := range []func() core.Outcome{
		func() core.Outcome { return r.do(s) }, func() core.Outcome { return r.undo(s) },
		func() core.Outcome { return r.Prepare(t.Context(), s).Outcome },
		func() core.Outcome { return r.Receive(t.Context(), s).Outcome },
	} {
		o := f()
		require.Equal(t, core.OutcomeNoWorker, o.Kind)
		require.Contains(t, o.Error, "no version 3 of saga rooms, only 1")
	}
	_, err := r.Plan(t.Context(), "flights", 0)
	require.ErrorIs(t, err, holdfast.ErrNotFound)
	plan, err := r.Plan(t.Context(), "rooms", 0)
	require.NoError(t, err)
	require.Equal(t, 1, plan.Version)
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	sub := saga.Saga[trip]{Name: "inner", Steps: []saga.Step[trip]{saga.Activity("a", "A", "UndoA")}}
	r := newRig(t, nil, saga.Saga[trip]{Name: "trips", Steps: []saga.Step[trip]{
		saga.Choose("how", saga.Pick(func(s trip) string { return s.Who }), saga.Case("ann", saga.Wait("w", 0))),
		saga.Activity("a", "A", "UndoA").Send(saga.From(func(s trip) string { return s.Who })).When(saga.If(func(s trip) bool { return s.Train })),
		saga.Sub("sub", sub),
		saga.Wait("ok", 0).When(saga.If(func(s trip) bool { return s.Train })),
		saga.Activity("p", "A", "UndoA").Send(saga.From(func(trip) string { panic("oops") })),
	}})
	prepare := func(step, data, cause string) (core.Outcome, string) {
		s := r.step("trips", step, data)
		s.Cause = cause
		out := r.Prepare(t.Context(), s)
		return out.Outcome, string(out.Input)
	}
	o, _ := prepare("how", `{"who":"ann"}`, "")
	require.Equal(t, core.Outcome{Kind: core.OutcomeDone, Case: "ann"}, o)
	o, _ = prepare("a", `{"who":"ann"}`, "")
	require.Equal(t, core.OutcomeSkipped, o.Kind)
	o, input := prepare("a", `{"who":"ann","train":true}`, "")
	require.Equal(t, core.OutcomeDone, o.Kind)
	require.Equal(t, `"ann"`, input)
	o, input = prepare("a", `{"who":"ann"}`, "it goes back")
	require.Equal(t, core.OutcomeDone, o.Kind, "an Undo knows no condition")
	require.Equal(t, `"ann"`, input)
	_, input = prepare("sub", `{"who":"ann"}`, "")
	require.JSONEq(t, `{"who":"ann"}`, input)
	o, _ = prepare("ok", `{}`, "")
	require.Equal(t, core.OutcomeSkipped, o.Kind)
	o, _ = prepare("p", `{}`, "")
	require.Equal(t, holdfast.ClassPanic, o.Class)
}

func TestReceive(t *testing.T) {
	t.Parallel()
	take := saga.Into(func(s *trip, seat string) error {
		if seat == "" {
			return saga.Refuse("no seat")
		}
		s.Seat = seat
		return nil
	})
	r := newRig(t, nil, saga.Saga[trip]{Name: "trips", Steps: []saga.Step[trip]{
		saga.Activity("a", "A", "UndoA").Receive(take), saga.Wait("ok", 0).Receive(take),
	}})
	receive := func(step, result string) core.Outcome {
		s := r.step("trips", step, `{}`)
		s.Result, s.Last = []byte(result), true
		return r.Receive(t.Context(), s).Outcome
	}
	o := receive("a", `"4a"`)
	require.JSONEq(t, `{"seat":"4a"}`, string(o.Patch))
	require.JSONEq(t, `{"seat":"4a"}`, r.ended["saga/g/trips/TestReceive"])
	require.Equal(t, core.Outcome{Kind: core.OutcomeRefused, Error: "no seat"}, receive("ok", `""`))
	o = receive("a", `""`)
	require.Equal(t, core.OutcomeFailed, o.Kind, "what was done has to be undone")
	require.Equal(t, holdfast.ClassPermanent, o.Class)
	require.Equal(t, holdfast.ClassPermanent, receive("a", `{}`).Class)
}

func TestDefinitions(t *testing.T) {
	t.Parallel()
	inner := saga.Saga[trip]{Name: "inner", Steps: []saga.Step[trip]{saga.Activity("a", "A", "UndoA")}}
	r := newRig(t, nil, rooms(takeRoom, leaveRoom), rooms(takeRoom, leaveRoom),
		saga.Saga[trip]{Name: "rooms", Version: 2, Steps: []saga.Step[trip]{saga.Local("suite", takeRoom, leaveRoom), saga.Sub("more", inner)}})
	c, err := r.Definitions.Find("rooms", 0)
	require.NoError(t, err)
	require.Equal(t, 2, c.Plan.Version)
	_, err = r.Definitions.Find("inner", 1)
	require.NoError(t, err, "a sub-saga comes with its saga")
	require.Len(t, r.Definitions.All(), 3)
	name, step := r.Definitions.Local()
	require.Equal(t, "rooms room", name+" "+step)

	other, err := saga.Saga[trip]{Name: "inner", Steps: []saga.Step[trip]{saga.Activity("b", "B", "UndoB")}}.Compile()
	require.NoError(t, err)
	err = r.Definitions.Add(other)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	require.ErrorContains(t, err, "saga inner version 1")
}

package sagarun_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/sagarun"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

// raise has the server answer with a SQLSTATE.
func raise(tx *gorm.DB, state string) error {
	return tx.Exec("SELECT raise(?)", state).Error
}

// TestServerAtFault: a full disk turns no saga back, at a local step and at a
// participant; a duplicate key does. What contends with others is tried again at
// once.
func TestServerAtFault(t *testing.T) {
	t.Parallel()
	db := database(t)
	require.NoError(t, db.Exec(`CREATE FUNCTION raise(state text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'at fault' USING ERRCODE = state; END $$`).Error)
	var tries atomic.Int32
	fails := func(tx *gorm.DB, s *trip) error {
		if n := tries.Add(1); s.Who == "40001" && n > 3 {
			return nil
		}
		return raise(tx, s.Who)
	}
	r := newRig(t, db, saga.Saga[trip]{Name: "at-fault", Steps: []saga.Step[trip]{saga.Local("room",
		func(_ context.Context, tx *gorm.DB, s *trip) error { return fails(tx, s) },
		func(context.Context, *gorm.DB, *trip) error { return nil })}})
	do := func(state string) core.Outcome { return r.do(r.step("at-fault", "room", `{"who":"`+state+`"}`)) }

	o := do("53100")
	require.Equal(t, core.OutcomeFailed, o.Kind)
	require.True(t, o.Excused)
	require.False(t, do("23505").Excused)
	tries.Store(0)
	require.Equal(t, core.OutcomeDone, do("40001").Kind, "three times it contended, and then it did not")
	require.EqualValues(t, 4, tries.Load())

	for state, waits := range map[string]bool{"53100": true, "58030": true, "40P01": true, "23505": false, "57014": false} {
		p := &sagarun.Participant{Name: "seats", Topic: "seat.take", DB: db,
			Do: func(_ context.Context, tx *gorm.DB, _ holdfast.Message) (any, error) { return nil, raise(tx, state) }}
		err := p.Handle(t.Context(), broker.Delivery{Message: holdfast.Message{Topic: "seat.take"}, Saga: &broker.SagaCall{Saga: "s", Workflow: "s", Step: "seat"}})
		require.Error(t, err)
		require.Equal(t, waits, broker.Waits(err), "%s: %v", state, err)
	}
}

package transactions_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfastmq/holdfast/workflows/transactions"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// TestLongDeliveryIsTold: that a committed transaction is not delivered within a minute is
// told once, however often it is tried; what parks by then is told as parked.
func TestLongDeliveryIsTold(t *testing.T) {
	away := errors.New("connection refused")
	unrouted := fmt.Errorf("%w: no consumer is bound to order.placed", holdfast.ErrUnroutable)
	for name, c := range map[string]struct {
		err   error
		fails int
		want  []holdfast.AlertKind
	}{
		"in seconds": {away, 4, nil},
		"for long":   {away, 30, []holdfast.AlertKind{holdfast.AlertDeliveryWaits}},
		"parked":     {unrouted, 12, []holdfast.AlertKind{holdfast.AlertParked}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{publishErr: func(_ string, n int) error {
				if n <= c.fails {
					return c.err
				}
				return nil
			}}
			got := ended(t, setup(t, w), input(tx("1", activities.Inline)))
			require.Equal(t, workflows.Committed, got[0].State)
			require.Len(t, w.delivered, 1)
			var kinds []holdfast.AlertKind
			for _, a := range w.alerts {
				kinds = append(kinds, a.Kind)
				require.Equal(t, "1", a.ID)
				require.NotEmpty(t, a.Group)
				require.NotEmpty(t, a.WorkflowID)
				require.Equal(t, "order.placed", a.Topic)
				require.NotEmpty(t, a.Remedy)
				require.Contains(t, a.Reason, c.err.Error())
			}
			require.Equal(t, c.want, kinds)
		})
	}
}

// TestPartlyDelivered: whichever step learns it, what was delivered is not published again.
func TestPartlyDelivered(t *testing.T) {
	partly := func(id string, why error, delivered ...string) error {
		return &holdfast.DeliveryError{Delivered: delivered, Failed: []holdfast.FailedDelivery{{ID: id, Topic: "order.placed", Err: why}}}
	}
	away := errors.New("no confirm")
	w := &world{publishErr: func(_ string, n int) error {
		return []error{partly("1.2", holdfast.ErrUnroutable, "1.1"), partly("1.2", away, "1.3"), partly("1.4", holdfast.ErrUnroutable, "1.2"), nil}[n-1]
	}}
	one := tx("1", activities.Inline)
	for _, id := range []string{"1.2", "1.3", "1.4"} {
		m := one.Messages[0]
		m.ID = id
		one.Messages = append(one.Messages, m)
	}
	one.Messages[0].ID = "1.1"
	got := ended(t, setup(t, w), input(one))
	require.Equal(t, workflows.Committed, got[0].State)
	require.Equal(t, [][]string{{"1.1", "1.2", "1.3", "1.4"}, {"1.2", "1.3", "1.4"}, {"1.2", "1.4"}, {"1.4"}}, w.tried)
	require.Empty(t, got[0].Delivered, "all are")
}

// TestQueueFullIsWaitedFor: each try gives the message to the other consumers again, so
// there are few, and whoever leaves its cohort because of it does not begin with one.
func TestQueueFullIsWaitedFor(t *testing.T) {
	full := &holdfast.DeliveryError{Failed: []holdfast.FailedDelivery{{ID: "1", Topic: "order.placed", Err: holdfast.ErrQueueFull}}}
	for name, c := range map[string]struct {
		fails   int
		carried []transactions.Carried
		parks   int
		least   time.Duration
	}{
		"for a moment":       {1, nil, 0, 30 * time.Second},
		"for long":           {6, nil, 1, 30*time.Second + 2*time.Minute + 10*time.Minute + 2*30*time.Minute},
		"known when it left": {0, []transactions.Carried{{MemberStatus: transactions.MemberStatus{ID: "1", State: workflows.Delivering, Resolution: holdfast.Commit}, Full: true}}, 0, 30 * time.Second},
	} {
		w := &world{publishErr: func(_ string, n int) error {
			if n <= c.fails {
				return full
			}
			return nil
		}}
		env, in := setup(t, w), input(tx("1", activities.Inline))
		in.Carried = c.carried
		began := env.Now()
		got := ended(t, env, in)
		require.Equal(t, workflows.Committed, got[0].State, name)
		require.Equal(t, c.fails+1, w.publishes, name)
		took := env.Now().Sub(began)
		require.GreaterOrEqual(t, took, c.least, name)
		require.Less(t, took, c.least+31*time.Minute, name)
		parks := 0
		for _, a := range w.alerts {
			if a.Kind == holdfast.AlertParked {
				parks++
				require.Contains(t, a.Remedy, "has room", name)
			}
		}
		require.Equal(t, c.parks, parks, name)
	}
}

package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// tracedTravel runs an agency and a participant in two processes that are traced, and
// starts a saga from a call of ours.
func tracedTravel(t *testing.T, s *site, def saga.Saga[journey], seats worker.Participant, change ...func(*worker.Options)) (
	agency, airline *traced, caller trace.SpanContext, err error) {
	t.Helper()
	agency, airline = newTraced(t), newTraced(t)
	o := s.options()
	agency.on(&o)
	for _, c := range change {
		c(&o)
	}
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	s.consumers[seats.Topic] = true
	s.runWith(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), TracerProvider: airline,
		Timeouts: worker.Timeouts{Drain: 20 * time.Second}}, func(w *worker.Worker) { w.Participate(seats) })
	ctx, caller := agency.call(s.ctx())
	h, err := worker.StartSaga(ctx, w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	return agency, airline, caller, err
}

// TestTraceOfASaga: its steps, the calls of participants and their replies.
func TestTraceOfASaga(t *testing.T) {
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		t.Run(string(lane), func(t *testing.T) {
			s := sagaSite(t)
			inside := make(chan trace.SpanContext, 1)
			def := travel(saga.Local("book", func(ctx context.Context, tx *gorm.DB, j *journey) error {
				inside <- trace.SpanContextFromContext(ctx)
				return nil
			}, nil).NoUndo(), seat(), saga.Sub("insure", saga.Saga[journey]{Name: "insurance", Steps: []saga.Step[journey]{local("policy")}}))
			if lane == holdfast.Express { // a sub-saga is not for that lane
				def.Steps = def.Steps[:2]
			}
			def.Lane = lane
			agency, airline, caller, err := tracedTravel(t, s, def, s.seats(nil))
			require.NoError(t, err)
			id := caller.TraceID()
			start := agency.named(id, "start saga travel")
			require.Equal(t, caller.SpanID(), start.Parent.SpanID())
			book := agency.named(id, "do book")
			require.Equal(t, start.SpanContext.SpanID(), book.Parent.SpanID())
			require.Equal(t, book.SpanContext.SpanID(), next(t, inside).SpanID())
			call := agency.named(id, "do seat")
			require.Equal(t, "seat", attributeOf(call, "holdfast.step"))
			process := airline.named(id, "process seat.take")
			require.Equal(t, call.SpanContext.SpanID(), process.Parent.SpanID())
			require.Equal(t, "seat", attributeOf(process, "holdfast.step"))
			reply := agency.named(id, "reply seat")
			require.Equal(t, process.SpanContext.SpanID(), reply.Parent.SpanID())
			require.Equal(t, "completed", attributeOf(agency.named(id, "saga travel"), "holdfast.state"))
			if lane != holdfast.Express {
				agency.named(id, "do policy")
				agency.named(id, "saga insurance")
			}
		})
	}
}

// TestTraceOfACompensation: what undoes a saga is in its trace, also where it was begun
// without a workflow.
func TestTraceOfACompensation(t *testing.T) {
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		t.Run(string(lane), func(t *testing.T) {
			s := sagaSite(t)
			def := travel(local("book"), seat(), saga.Local("pay",
				func(context.Context, *gorm.DB, *journey) error { return saga.Refuse("no money") }, nil).NoUndo())
			def.Lane = lane
			agency, airline, caller, err := tracedTravel(t, s, def, s.seats(nil))
			require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
			id := caller.TraceID()
			pay := agency.named(id, "do pay")
			require.Equal(t, "refused", attributeOf(pay, "holdfast.outcome"))
			require.Equal(t, "no money", pay.Status.Description)
			undo := agency.named(id, "undo seat")
			require.Equal(t, undo.SpanContext.SpanID(), airline.named(id, "process seat.leave").Parent.SpanID())
			agency.named(id, "undo book")
			require.Equal(t, "compensated", attributeOf(agency.named(id, "saga travel"), "holdfast.state"))
		})
	}
}

// TestTraceOfAGivenUpCall: a participant that gives up says so in the saga's trace.
func TestTraceOfAGivenUpCall(t *testing.T) {
	s := sagaSite(t)
	seats := s.seats(func(journey) error { return errors.New("no plane") })
	failing := seat()
	def := travel(failing.Retry(once))
	agency, airline, caller, err := tracedTravel(t, s, def, seats)
	require.Error(t, err)
	require.Equal(t, "no plane", airline.named(caller.TraceID(), "process seat.take").Status.Description)
	agency.named(caller.TraceID(), "reply seat")
}

// TestTraceOfASagaThatLostItsProcess: the Keeper hands it over in its trace.
func TestTraceOfASagaThatLostItsProcess(t *testing.T) {
	s := sagaSite(t)
	def := quickTravel(local("a"))
	agency := newTraced(t)
	o := hurried(s.options())
	agency.on(&o)
	s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	b := s.broker()
	publish := func(at holdfast.Trace) (key string) {
		key = newID()
		require.NoError(t, b.PublishHalf(s.ctx(), holdfast.Half{TxID: newID(), Group: group, At: time.Now(), Lane: holdfast.Express,
			Saga: &holdfast.SagaStart{Name: "travel", Version: 1, Key: key, State: []byte(`{"id":"` + key + `"}`), Tokens: true, Trace: at}}))
		return key
	}
	_, caller := agency.call(s.ctx())
	at := holdfast.Trace{Parent: "00-" + caller.TraceID().String() + "-" + caller.SpanID().String() + "-01"}
	publish(at)
	agency.named(caller.TraceID(), "hand over saga travel")
	agency.named(caller.TraceID(), "do a")
	agency.named(caller.TraceID(), "saga travel")

	key := publish(holdfast.Trace{Parent: at.Parent + strings.Repeat("a", 1<<20)}) // a hostile one
	until(t, "it is done all the same", func() bool { return len(s.logged(s.orders, key)) == 1 })
	require.Zero(t, s.count(s.orders, "SELECT count(*) FROM holdfast_steps WHERE length(result::text) > 10000"), "no row keeps it")
}

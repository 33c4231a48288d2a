package worker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// overheard are the deliveries that handlers were told of, by the message's key or the
// saga's step.
type overheard struct {
	mu  sync.Mutex
	all map[string][]holdfast.Delivery
}

func (o *overheard) hear(ctx context.Context, of string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	d, ok := holdfast.DeliveryFrom(ctx)
	if !ok {
		d.Consumer = "nobody"
	}
	d.Redelivered = false // a connection may have been lost
	if d.FirstPublished.IsZero() {
		d.Consumer = "too early"
	}
	d.FirstPublished = time.Time{}
	if o.all == nil {
		o.all = map[string][]holdfast.Delivery{}
	}
	o.all[of] = append(o.all[of], d)
	return len(o.all[of])
}

func (o *overheard) of(of string) []holdfast.Delivery {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all[of]
}

// curious is a service whose handlers ask what they handle: the second try of a consumer
// succeeds, and so does a participant's Do; what comes after it fails.
func curious(o *overheard) (worker.Consumer, worker.Participant, saga.Saga[journey]) {
	c := worker.Consumer{Name: "payments", Topics: []string{placed}, Ladder: []time.Duration{}, Handle: func(ctx context.Context, _ *gorm.DB, m holdfast.Message) error {
		if o.hear(ctx, "message") == 1 {
			return errOops
		}
		return nil
	}}
	asked := func(what string) worker.Participation {
		return func(ctx context.Context, _ *gorm.DB, _ holdfast.Message) (any, error) {
			o.hear(ctx, what)
			return nil, nil
		}
	}
	p := worker.Participant{Name: "seats", Topic: "seat.take", UndoTopic: "seat.leave", Do: asked("do"), Undo: asked("undo")}
	def := travel(saga.Message("seat", "seat.take", "seat.leave"), saga.Local("end", func(context.Context, *gorm.DB, *journey) error {
		return saga.Refuse("no")
	}, nil).NoUndo())
	return c, p, def
}

// requireOverheard compares what handlers were told with what was sent.
func requireOverheard(t *testing.T, o *overheard, txID, sagaID string) {
	t.Helper()
	require.Equal(t, []holdfast.Delivery{{Consumer: "payments", MessageID: txID, Topic: placed, TxID: txID, Group: group, Attempt: 1},
		{Consumer: "payments", MessageID: txID, Topic: placed, TxID: txID, Group: group, Attempt: 2}}, o.of("message"))
	for what, undo := range map[string]bool{"do": false, "undo": true} {
		told := o.of(what)
		require.Len(t, told, 1, what)
		require.NotEmpty(t, told[0].MessageID)
		require.Equal(t, map[bool]string{false: "seat.take", true: "seat.leave"}[undo], told[0].Topic)
		told[0].TxID, told[0].Group, told[0].MessageID, told[0].Topic = "", "", "", ""
		require.Equal(t, holdfast.Delivery{Consumer: "seats", Attempt: 1, Saga: sagaID, Step: "seat", Undo: undo}, told[0])
	}
}

// TestHandlersKnowTheirDelivery, with the testing kit and in a worker on real servers.
func TestHandlersKnowTheirDelivery(t *testing.T) {
	t.Parallel()
	_, ok := holdfast.DeliveryFrom(t.Context())
	require.False(t, ok)
	d, ok := holdfast.DeliveryFrom(holdfast.WithDelivery(t.Context(), holdfast.Delivery{Attempt: 7}))
	require.True(t, ok)
	require.Equal(t, 7, d.Attempt)

	var o overheard
	k := holdfasttest.NewWith(t, holdfasttest.Options{Group: group})
	c, p, def := curious(&o)
	r := k.Service(k.DB())
	r.Consume(c)
	r.Participate(p)
	r.Saga(def)
	local := func(context.Context, *gorm.DB, *holdfast.Message) error { return nil }
	m := holdfast.Message{ID: newID(), Topic: placed, Key: "K-1", Body: []byte("{}")}
	require.NoError(t, k.Send(m, local).Err)
	key := newID()
	holdfasttest.RunSaga(k, def, journey{ID: key})
	requireOverheard(t, &o, m.ID, o.of("do")[0].Saga)
	require.Contains(t, o.of("do")[0].Saga, key)

	s := sagaSite(t)
	var real overheard
	c, p, def = curious(&real)
	c.DB, p.DB = s.effects, s.effects
	s.consumers["payments"], s.consumers["seats"] = true, true
	w := s.runWith(s.options(), func(w *worker.Worker) {
		w.Consume(c)
		w.Participate(p)
		w.Saga(def)
	})
	m.ID = newID()
	_, err := w.Send(s.ctx(), m, local)
	require.NoError(t, err)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	until(t, "the second try", func() bool { return len(real.of("message")) == 2 })
	requireOverheard(t, &real, m.ID, h.ID())
}

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
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// gotten are the messages that a consumer got, and what it was told of them.
type gotten struct {
	mu   sync.Mutex
	all  map[string][]holdfast.Delivery
	last map[string]holdfast.Message
}

// hears has c note what it gets, before it handles it.
func (d *gotten) hears(c worker.Consumer) worker.Consumer {
	handle := c.Handle
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		known, _ := holdfast.DeliveryFrom(ctx)
		d.mu.Lock()
		if d.all == nil {
			d.all, d.last = map[string][]holdfast.Delivery{}, map[string]holdfast.Message{}
		}
		d.all[m.ID], d.last[m.ID] = append(d.all[m.ID], known), m
		d.mu.Unlock()
		return handle(ctx, tx, m)
	}
	return c
}

func (d *gotten) of(id string) (holdfast.Message, []holdfast.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last[id], d.all[id]
}

// equipped is an order with all properties.
func equipped(id string) holdfast.Message {
	m := order(id)
	m.Type, m.CorrelationID, m.CausationID, m.ContentEncoding, m.ReplyTo, m.AppID = "order.v2", "c-"+id, "m-0", "identity", "answers", "shop"
	m.Priority, m.TTL = 7, time.Hour
	return m
}

// TestPropertiesArrive, whatever way a message takes: alone, in a cohort, split, handed over,
// completed by its local transaction, encrypted, or dead and delivered again.
func TestPropertiesArrive(t *testing.T) { inLanes(t, testPropertiesArrive) }

func testPropertiesArrive(t *testing.T, l lane) {
	s := newSite(t)
	var got gotten
	trouble := broken(errOops)
	k, _ := aKeyring(t)
	s.run(worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Keyring: k,
		Timeouts: worker.Timeouts{Drain: 20 * time.Second}}, got.hears(failing(s.effects, trouble)))
	w := s.patient(l.set)
	sealed := s.producer(l.set, with(k))
	arrives := func(want holdfast.Message) {
		t.Helper()
		s.oneEffect(want.ID)
		m, ds := got.of(want.ID)
		require.Equal(t, want, m)
		d := ds[len(ds)-1]
		require.NotZero(t, d.FirstPublished)
		d.FirstPublished, d.Redelivered = time.Time{}, false
		require.Equal(t, holdfast.Delivery{Consumer: "payments", MessageID: m.ID, Topic: m.Topic, TxID: m.ID, Group: group,
			Attempt: d.Attempt, Redelivery: d.Redelivery, CorrelationID: m.CorrelationID, CausationID: m.CausationID, Type: m.Type,
			ContentEncoding: m.ContentEncoding, ReplyTo: m.ReplyTo, AppID: m.AppID, Priority: m.Priority, TTL: m.TTL}, d)
	}

	dead := equipped(newID())
	_, err := sealed.Send(s.ctx(), dead, insert)
	require.NoError(t, err)
	s.awaitLetter("payments", dead.ID, workflows.Parked)
	_, first := got.of(dead.ID)
	trouble.Store(nil)
	_, err = s.askLetter("payments", dead.ID, deadletters.UpdateRedeliver, withAnswer)
	require.NoError(t, err)
	arrives(dead)
	_, all := got.of(dead.ID)
	require.Equal(t, 1, all[len(all)-1].Redelivery)
	require.Equal(t, first[0].FirstPublished, all[len(all)-1].FirstPublished)

	for name, w := range map[string]*running{"clear": w, "encrypted": sealed} {
		m := equipped(newID())
		_, err = w.Send(s.ctx(), m, insert)
		require.NoError(t, err, name)
		arrives(m)
	}
	changed := order(newID())
	_, err = w.Send(s.ctx(), changed, func(_ context.Context, _ *gorm.DB, m *holdfast.Message) error {
		*m = equipped(m.ID)
		return nil
	})
	require.NoError(t, err)
	arrives(equipped(changed.ID))

	if l.traced {
		for _, sent := range s.together(w, 3, func(int) (context.Context, holdfast.Message, worker.Local) {
			m := equipped("")
			return s.ctx(), m, insert
		}) {
			require.NoError(t, sent.err)
			m := equipped("")
			m.ID = sent.receipt.TxID
			m.Key, m.Body = "K-", []byte("order ")
			arrives(m)
		}
	}

	w.stop()
	sealed.stop()
	w = s.runWith(l.options(s.options()), (*worker.Worker).BePatient)
	var split *worker.Split
	until(t, "one is committed before it is checked back", func() bool {
		split, err = w.Begin(s.ctx(), 0, equipped(newID()))
		require.NoError(t, err)
		return s.commitOrder(split) == nil
	})
	arrives(equipped(split.ID())) // a check-back delivers it
}

// TestCorrelation: what is sent in a handler belongs to what is handled, with the testing kit
// and in a worker on real servers, in both lanes.
func TestCorrelation(t *testing.T) {
	t.Parallel()
	k := holdfasttest.NewWith(t, holdfasttest.Options{Group: group})
	var kit gotten
	r := k.Service(k.DB())
	none := func(context.Context, *gorm.DB, *holdfast.Message) error { return nil }
	r.Consume(kit.hears(worker.Consumer{Name: "second", Topics: []string{"order.second"}, Handle: func(context.Context, *gorm.DB, holdfast.Message) error { return nil }}))
	id := newID()
	in := holdfast.WithDelivery(t.Context(), holdfast.Delivery{MessageID: id, TxID: id}) // of a handler
	require.NoError(t, k.SendIn(in, []holdfast.Message{{ID: id + "-next", Topic: "order.second"}},
		func(context.Context, *gorm.DB, []*holdfast.Message) error { return nil }).Err)
	m, _ := kit.of(id + "-next")
	require.Equal(t, [2]string{id, id}, [2]string{m.CorrelationID, m.CausationID})

	s := newSite(t)
	s.consumers["second"] = true
	var got gotten
	var w *worker.Worker
	next := func(ctx context.Context, _ *gorm.DB, m holdfast.Message) error {
		lane := holdfast.Traced
		if m.Headers["lane"] != "" {
			lane = holdfast.Express
		}
		_, err := w.Send(ctx, holdfast.Message{ID: m.ID + "-next", Topic: "order.second", Lane: lane}, none)
		return err
	}
	second := worker.Consumer{Name: "second", Topics: []string{"order.second"}, DB: s.effects, Handle: take}
	running := s.runWith(s.options(), func(made *worker.Worker) {
		w = made
		made.Consume(worker.Consumer{Name: "payments", Topics: []string{placed}, DB: s.effects, Handle: next})
		made.Consume(got.hears(second))
	})
	for _, c := range []struct{ correlation, want string }{{"", ""}, {"checkout-7", "checkout-7"}} {
		for _, lane := range []string{"", "express"} {
			m := order(newID())
			m.CorrelationID = c.correlation
			if lane != "" {
				m.Headers = map[string]string{"lane": lane}
			}
			if c.want == "" {
				c.want = m.ID
			}
			_, err := running.Send(s.ctx(), m, insert)
			require.NoError(t, err)
			s.oneEffect(m.ID + "-next")
			_, ds := got.of(m.ID + "-next")
			require.Equal(t, [2]string{c.want, m.ID}, [2]string{ds[0].CorrelationID, ds[0].CausationID})
			c.want = c.correlation
		}
	}
}

// TestExpiredMessage: nobody gets it, and no policy acts on it; it waits for an operator, who
// can have it delivered nevertheless.
func TestExpiredMessage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	consumer := payments(s.effects)
	consumer.DeadLetters = holdfast.Policy{Action: holdfast.PolicyCompensate}
	s.consuming(consumer).stop() // there is its queue
	w := s.compensating()
	m := equipped(newID())
	m.TTL = 50 * time.Millisecond
	began := time.Now()
	_, err := w.Send(s.ctx(), m, func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
		time.Sleep(2 * m.TTL) // its time has not begun
		return insert(ctx, tx, m)
	})
	require.NoError(t, err)
	parked := s.awaitLetter("payments", m.ID, workflows.Parked)
	require.GreaterOrEqual(t, time.Since(began), 3*m.TTL)
	require.Equal(t, holdfast.ClassDropped, parked.Failure.Class)
	require.Contains(t, parked.Failure.Reason, "longer than its time to live")
	require.Zero(t, s.refunded(m.ID))

	var got gotten
	s.consuming(got.hears(consumer))
	_, err = s.askLetter("payments", m.ID, deadletters.UpdateRedeliver, withAnswer)
	require.NoError(t, err)
	s.oneEffect(m.ID)
	delivered, ds := got.of(m.ID)
	require.Len(t, ds, 1)
	m.TTL = 0 // it is over
	require.Equal(t, m, delivered)
}

package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/holdfasttest"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
)

type tenantKey struct{}

// around notes when it is entered and left, of which delivery, and with what error.
func around(l *ledger, name string) worker.Middleware {
	return func(next worker.Handle) worker.Handle {
		return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
			d, _ := holdfast.DeliveryFrom(ctx)
			of := fmt.Sprintf("%s %s undo=%t tx=%t", d.Consumer, m.Topic, d.Undo, tx != nil)
			l.note(name + " in " + of)
			tenants, _ := ctx.Value(tenantKey{}).(string)
			err := next(context.WithValue(ctx, tenantKey{}, tenants+name), tx, m)
			l.note(fmt.Sprintf("%s out %s %v", name, d.Consumer, err))
			return err
		}
	}
}

// wrapped is a service whose handlers note what the middleware has put into their context.
func wrapped(r worker.Registry, l *ledger, db *gorm.DB) saga.Saga[journey] {
	inside := func(ctx context.Context, what string) {
		l.note(fmt.Sprintf("%s has %v", what, ctx.Value(tenantKey{})))
	}
	own := []worker.Middleware{around(l, "c"), around(l, "d")}
	r.Consume(worker.Consumer{Name: "payments", Topics: []string{placed}, DB: db, Ladder: noLadder, Tries: 1, Middleware: own,
		Handle: func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error { inside(ctx, "payments"); return nil },
		Undo: func(ctx context.Context, tx *gorm.DB, m holdfast.Message, f holdfast.Failure) error {
			inside(ctx, "undo of "+f.Consumer+" "+f.Reason)
			return nil
		}})
	r.Consume(worker.Consumer{Name: "audit", Topics: []string{placed}, Ladder: noLadder, Tries: 1, DeadLetters: holdfast.Policy{Action: holdfast.PolicyCompensate},
		HandleAtLeastOnce: func(ctx context.Context, m holdfast.Message) error {
			inside(ctx, "audit")
			return holdfast.Permanent(errOops)
		}})
	r.Compensate(placed, func(context.Context, *gorm.DB, holdfast.Message, holdfast.Failure) error { return nil })
	r.Participate(worker.Participant{Name: "seats", Topic: "seat.take", UndoTopic: "seat.leave", DB: db, Middleware: own[:1],
		Do: func(ctx context.Context, _ *gorm.DB, _ holdfast.Message) (any, error) {
			inside(ctx, "do")
			return map[string]string{"Note": "seat 7"}, nil
		},
		Undo: func(ctx context.Context, _ *gorm.DB, _ holdfast.Message) (any, error) {
			inside(ctx, "leave")
			return nil, nil
		}})
	def := travel(saga.Message("seat", "seat.take", "seat.leave").Receive(saga.Into(func(j *journey, r map[string]string) error {
		l.note("received " + r["Note"])
		return nil
	})), saga.Local("end", func(context.Context, *gorm.DB, *journey) error { return saga.Refuse("no") }, nil).NoUndo())
	r.Saga(def)
	return def
}

func requireWrapped(t *testing.T, l *ledger) {
	t.Helper()
	for _, line := range []string{
		"a in payments order.placed undo=false tx=true", "b in payments order.placed undo=false tx=true",
		"c in payments order.placed undo=false tx=true", "d in payments order.placed undo=false tx=true",
		"payments has abcd", "a out payments <nil>", "audit has ab", "a in audit order.placed undo=false tx=false", "b out audit " + errOops.Error(),
		"a in payments order.placed undo=true tx=true", "undo of audit " + errOops.Error() + " has abcd",
		"a in seats seat.take undo=false tx=true", "do has abc", "received seat 7", "c in seats seat.leave undo=true tx=true", "leave has abc",
	} {
		require.Positive(t, l.count(line), line)
	}
}

// TestMiddleware is in the documented order around all kinds of handlers, with the testing kit
// and in a worker on real servers.
func TestMiddleware(t *testing.T) {
	t.Parallel()
	local := func(context.Context, *gorm.DB, *holdfast.Message) error { return nil }
	kit := &ledger{}
	k := holdfasttest.NewWith(t, holdfasttest.Options{Group: group, Middleware: []worker.Middleware{around(kit, "a"), around(kit, "b")}})
	def := wrapped(k.Service(k.DB()), kit, k.DB())
	require.NoError(t, k.Send(order(newID()), local).Err)
	holdfasttest.RunSaga(k, def, journey{ID: newID()})
	requireWrapped(t, kit)

	s := sagaSite(t)
	live := &ledger{}
	for _, name := range []string{"payments", "audit", "seats"} {
		s.consumers[name] = true
	}
	o := s.options()
	o.Middleware = []worker.Middleware{around(live, "a")}
	w := s.runWith(o, func(w *worker.Worker) {
		def = wrapped(w, live, s.effects)
		w.Use(around(live, "b")) // after what it is put around
	})
	_, err := w.Send(s.ctx(), order(newID()), local)
	require.NoError(t, err)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: newID()})
	require.NoError(t, err)
	_, err = h.Wait(s.ctx())
	stood(t, err, holdfast.ErrSagaCompensated)
	until(t, "payments is undone", func() bool { return live.count("undo of audit "+errOops.Error()+" has abcd") > 0 })
	requireWrapped(t, live)
}

// TestMiddlewareDecides: it writes in the handler's transaction, refuses, recovers, turns an
// error into a success, and what it panics with is an error.
func TestMiddlewareDecides(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	calls := &ledger{}
	c := payments(s.effects)
	c.Tries, c.Ladder = 2, noLadder
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if err := take(ctx, tx, m); err != nil {
			return err
		}
		switch m.Key {
		case "panic inside":
			panic("overboard")
		case "fails", "swallowed":
			return errOops
		case "again": // what it writes at first is not to be committed with what it writes then
			if calls.note("ran again"); calls.count("ran again") == 1 {
				return errOops
			}
		}
		return nil
	}
	c.Middleware = []worker.Middleware{func(next worker.Handle) worker.Handle {
		return func(ctx context.Context, tx *gorm.DB, m holdfast.Message) (err error) {
			calls.note(m.Key)
			switch m.Key {
			case "refused":
				return holdfast.Permanent(errors.New("not from this tenant"))
			case "skipped":
				return nil
			case "panics":
				panic("the middleware's own")
			case "panic inside":
				defer func() { err = holdfast.Permanent(fmt.Errorf("recovered: %v", recover())) }()
			case "detached":
				return next(context.Background(), tx, m)
			}
			m.Body = append(m.Body, " seen"...)
			if err := tx.Exec("INSERT INTO effects (message_id, topic) VALUES (?, 'audit')", m.ID).Error; err != nil {
				return err
			}
			err = next(ctx, tx, m)
			switch {
			case m.Key == "swallowed":
				return nil
			case m.Key == "again" && err != nil:
				return next(ctx, tx, m)
			}
			return err
		}
	}}
	s.consuming(c)
	s.producer()
	b := s.broker()
	sent := map[string]holdfast.Message{}
	for _, key := range []string{"good", "refused", "skipped", "panics", "panic inside", "fails", "swallowed", "detached", "again"} {
		m := order(newID())
		m.Key = key
		sent[key] = m
		s.publish(b, m)
	}
	for key, want := range map[string]struct {
		class  holdfast.ErrorClass
		reason string
		calls  int
	}{"refused": {holdfast.ClassPermanent, "not from this tenant", 1}, "panics": {holdfast.ClassPanic, "the middleware's own", 2},
		"panic inside": {holdfast.ClassPermanent, "recovered: overboard", 1}, "fails": {holdfast.ClassError, errOops.Error(), 2},
		"detached": {holdfast.ClassError, "not derived from its own", 2}} {
		letter := s.awaitLetter("payments", sent[key].ID, workflows.Parked)
		require.Equal(t, want.class, letter.Failure.Class, key)
		require.Contains(t, letter.Failure.Reason, want.reason, key)
		require.Equal(t, want.calls, calls.count(key), "%s: around each attempt", key)
		require.Zero(t, s.effected(sent[key].ID), key)
	}
	for key, effects := range map[string]int{"good": 2, "swallowed": 2, "skipped": 0, "again": 2} { // its own, and the handler's
		until(t, key, func() bool {
			return s.count(s.effects, "SELECT count(*) FROM holdfast_inbox WHERE message_id = ?", sent[key].ID) == 1
		})
		require.Equal(t, effects, s.effected(sent[key].ID), key)
	}
	require.Equal(t, 2, calls.count("ran again"), "once in each attempt")
	require.Equal(t, 1, s.count(s.effects, "SELECT count(*) FROM effects WHERE message_id = ? AND body LIKE '% seen'", sent["good"].ID))
	s.deliver(b, sent["good"], order(newID()))
	until(t, "it comes again", func() bool { return calls.count("good") >= 1 })
	require.Equal(t, 1, calls.count("good"), "a repeated delivery reaches no middleware")
}

// TestSendMiddleware is around all that is sent, in both lanes and in the testing kit.
func TestSendMiddleware(t *testing.T) {
	t.Parallel()
	calls := &ledger{}
	stamp := func(next worker.Sending) worker.Sending {
		return func(ctx context.Context, o *worker.Outgoing) (holdfast.Receipt, error) {
			for i := range o.Messages {
				m := &o.Messages[i]
				if m.Headers == nil {
					m.Headers = map[string]string{}
				}
				m.Headers["tenant"] = "north"
				m.Key += " stamped"
				if m.AppID == "express" {
					m.Lane = holdfast.Express
				}
			}
			receipt, err := next(ctx, o)
			calls.note(fmt.Sprintf("%s %s %v %t", o.Call, o.Handler, receipt.Resolution, err == nil))
			return receipt, err
		}
	}
	judge := func(next worker.Sending) worker.Sending {
		return func(ctx context.Context, o *worker.Outgoing) (holdfast.Receipt, error) {
			if o.Messages[0].Headers["tenant"] != "north" {
				panic("not in order")
			}
			switch o.Messages[0].Type {
			case "refused":
				return holdfast.Receipt{}, errOops
			case "forgotten":
				return holdfast.Receipt{}, nil
			case "more":
				o.Messages = append(o.Messages, o.Messages[0])
			}
			return next(ctx, o)
		}
	}
	mine := func(_ context.Context, _ *gorm.DB, m *holdfast.Message) error {
		if m.Headers["tenant"] != "north" {
			return errors.New("not stamped")
		}
		return nil
	}
	k := holdfasttest.NewWith(t, holdfasttest.Options{Group: group, SendMiddleware: []worker.SendMiddleware{stamp, judge}})
	k.Listen(placed)
	require.NoError(t, k.Send(order(newID()), mine).Err)
	refused := order(newID())
	refused.Type = "refused"
	require.ErrorIs(t, k.Send(refused, mine).Err, errOops)

	s := newSite(t)
	s.consuming(payments(s.effects))
	o := s.options()
	o.SendMiddleware = []worker.SendMiddleware{stamp}
	w := s.runWith(o, func(w *worker.Worker) {
		w.UseSend(judge)
		w.Local("place", mine)
	})
	arrives := func(id string) {
		t.Helper()
		e := s.oneEffect(id)
		require.JSONEq(t, `{"tenant":"north"}`, e.Headers)
		require.Equal(t, "K-"+id+" stamped", e.Key)
	}
	for _, app := range []string{"", "express"} {
		m := order(newID())
		m.AppID, m.Headers = app, map[string]string{}
		receipt, err := w.Send(s.ctx(), m, mine)
		require.NoError(t, err)
		arrives(m.ID)
		require.Empty(t, m.Headers, "the caller's message is its own")
		require.Equal(t, app == "", receipt.RunID != "", "the middleware chose the lane")
	}
	m := order(newID())
	_, err := w.Start(s.ctx(), "place", m)
	require.NoError(t, err)
	arrives(m.ID)
	m = order(newID())
	split, err := w.Begin(s.ctx(), 0, m)
	require.NoError(t, err)
	require.NoError(t, s.commitOrder(split))
	_, err = split.Commit(s.ctx())
	require.NoError(t, err)
	arrives(m.ID)
	for line, n := range map[string]int{"Send  commit true": 3, "Start place commit true": 1, "Begin  unknown true": 1, "Send  unknown false": 1} {
		require.Equal(t, n, calls.count(line), line)
	}
	for kind, text := range map[string]string{"refused": errOops.Error(), "forgotten": "neither called next nor returned an error", "more": "another number of messages"} {
		m := order(newID())
		m.Type = kind
		_, err := w.Send(s.ctx(), m, mine)
		require.ErrorContains(t, err, text)
		_, err = w.Begin(s.ctx(), time.Minute, m)
		require.ErrorContains(t, err, text)
		s.noWorkflow(m.ID)
	}
}

// TestInvalidMiddleware is told before anything happens.
func TestInvalidMiddleware(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := s.options()
	o.Middleware = []worker.Middleware{nil}
	_, err := worker.New(o)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	o.Middleware, o.SendMiddleware = nil, []worker.SendMiddleware{nil}
	_, err = worker.New(o)
	require.ErrorIs(t, err, holdfast.ErrInvalid)
	o.SendMiddleware = nil
	for text, register := range map[string]func(w *worker.Worker){
		"nil Middleware":     func(w *worker.Worker) { w.Use(nil) },
		"nil SendMiddleware": func(w *worker.Worker) { w.UseSend(nil) },
		"consumer payments: a nil Middleware": func(w *worker.Worker) {
			c := payments(s.effects)
			c.Middleware = []worker.Middleware{nil}
			w.Consume(c)
		},
		"consumer payments: holdfast: invalid: middleware 1 returned nil": func(w *worker.Worker) {
			w.Use(func(worker.Handle) worker.Handle { return nil })
			w.Consume(payments(s.effects))
		},
		"out of bounds": func(w *worker.Worker) {
			w.Use(func(worker.Handle) worker.Handle { panic("out of bounds") })
			w.Consume(payments(s.effects))
		},
	} {
		w, err := worker.New(o)
		require.NoError(t, err)
		register(w)
		err = w.Run(s.ctx())
		require.ErrorIs(t, err, holdfast.ErrInvalid, text)
		require.ErrorContains(t, err, text)
	}
}

package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
)

// texts are IDs and keys that people and other systems make.
var texts = []string{"Zürich-%s", "注文-%s", `a"b\c-%s`, "50%%_'$(id)-%s", "a\u202eb-%s", "=/x=FC-%s", "🚀%s"}

// someTexts are texts that nobody else has; id says that they are IDs, which have no
// slash.
func someTexts(id bool) (out []string) {
	for _, text := range texts {
		if id && text[1] == '/' {
			text = "=FC-%s"
		}
		out = append(out, fmt.Sprintf(text, newID()[:13]))
	}
	return out
}

// TestTransactionsOfAnyText: an ID and a key may be any UTF-8, in both lanes, where a
// transaction shares a workflow, where it is checked back, and as a dead letter.
func TestTransactionsOfAnyText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bell := &bells{}
	c := payments(s.effects)
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		if m.ContentType == "text/bad" {
			return holdfast.Permanent(errOops)
		}
		return take(ctx, tx, m)
	}
	s.consuming(c)
	w := s.producer(bell.hears)
	for n, id := range someTexts(true) {
		m := order(id)
		m.Lane, m.Topic = []holdfast.Lane{holdfast.Traced, holdfast.Express}[n%2], "order.größe"
		r, err := w.Send(s.ctx(), m, insert)
		require.NoError(t, err, id)
		require.Equal(t, id, r.TxID)
		require.Equal(t, "K-"+id, s.oneEffect(id).Key)
		if m.Lane == holdfast.Traced {
			require.Equal(t, workflows.Committed, s.ended(id).State)
			_, err = w.Send(s.ctx(), m, insert)
			require.ErrorIs(t, err, holdfast.ErrDuplicate)
		}
	}
	var together sync.WaitGroup // they share workflows, whose keys they are
	for n := range 20 {
		m := order("")
		m.Key = texts[n%len(texts)]
		together.Go(func() {
			_, err := w.Send(s.ctx(), m, insert)
			require.NoError(t, err, m.Key)
		})
	}
	together.Wait()

	w.stop()
	w = s.producer(bell.hears, func(o *worker.Options) { *o = hurried(*o) })
	// nobody decides it: a Recovery checks it back, in the end in a workflow of its own
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		m := order(someTexts(true)[0])
		m.Lane = lane
		_, err := w.Begin(s.ctx(), 0, m)
		require.NoError(t, err)
		until(t, "it is checked back", func() bool {
			o, err := barrier.Read(s.ctx(), s.orders, m.ID)
			return err == nil && o.Resolution == holdfast.Rollback
		})
	}

	for _, id := range someTexts(true) {
		m := order(id)
		m.ContentType = "text/bad"
		s.publish(s.broker(), m)
		require.Equal(t, m.Key, s.awaitLetter("payments", id, workflows.Parked).Key)
		until(t, "an alert", func() bool { _, rung := bell.about(holdfast.AlertDeadLetter, id); return rung })
		_, err := s.askLetter("payments", id, deadletters.UpdateDiscard)
		require.NoError(t, err)
	}
	// a queue of somebody else, with a name and a message of any text
	s.channel(func(ch *amqp.Channel) {
		require.NoError(t, ch.PublishWithContext(s.ctx(), "", s.at.Prefix+".dead", true, false, amqp.Publishing{MessageId: "Köln", Body: []byte("x"),
			Headers: amqp.Table{"holdfast-queue": "wörter", "holdfast-dead-at": time.Now().Format(time.RFC3339Nano)}}))
	})
	until(t, "its letter", func() bool { return len(s.letters()) == len(texts)+1 })
}

// TestSagasOfAnyText: so may a saga's key, where the saga calls, waits, and runs another
// one; and it is found by it.
func TestSagasOfAnyText(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	s.participants(s.seats(nil))
	child := saga.Saga[journey]{Name: "hotel", Key: journeyID, Steps: []saga.Step[journey]{local("room")}}
	def := travel(local("pay"), seat(),
		saga.Sub("hotel", child).Send(saga.From(func(j journey) journey { return journey{ID: j.ID} })),
		saga.Wait("approval", time.Hour),
		does("end", func(j *journey) error {
			if j.Paid {
				return saga.Refuse("no")
			}
			return nil
		}))
	w := s.agency(def, child)
	for n, key := range append(someTexts(true), "Rechnung 7/2026", "Rechnung 7.2026") { // two sagas, whose parts are two
		h, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: key, Paid: n%2 == 0})
		require.NoError(t, err, key)
		again, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: key, Paid: n%2 == 0})
		require.NoError(t, err, key)
		require.Equal(t, h.ID(), again.ID())
		joined := worker.JoinSaga(w.Worker, def, key)
		require.Equal(t, h.ID(), joined.ID())
		until(t, "it waits for approval", func() bool { return s.sagaStatus(h.ID()).Step == "approval" })
		require.NoError(t, joined.Approve(s.ctx(), "approval", nil, worker.By{Operator: "ann", Reason: "ok"}))
		j, err := joined.Wait(s.ctx())
		require.Equal(t, "4a", j.Seat)
		if n%2 == 0 {
			require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
			require.Equal(t, []string{"do pay", "do seat", "do room", "undo room", "undo seat", "undo pay"}, s.chronicle(key))
		} else {
			require.NoError(t, err, key)
			require.Equal(t, []string{"do pay", "do seat", "do room", "do end"}, s.chronicle(key))
		}
	}
	for _, key := range []string{"", "a\x00", "a\n", "\xff", string(make([]byte, holdfast.MaxName+1))} {
		_, err := worker.StartSaga(s.ctx(), w.Worker, def, journey{ID: key})
		require.ErrorIs(t, err, holdfast.ErrInvalid, "%q", key)
	}
	for _, m := range []holdfast.Message{{ID: "a\nb"}, {ID: "\xff"}, {ID: "a/b"}, {Key: "\xff"}, {Key: "a\x00"}} {
		m.Topic = placed
		_, err := w.Send(s.ctx(), m, func(context.Context, *gorm.DB, *holdfast.Message) error { panic("nothing is run") })
		require.ErrorIs(t, err, holdfast.ErrInvalid, "%+v", m)
	}
}

// TestStatesSurvive: what encoding/json keeps of a state is there after each step.
func TestStatesSurvive(t *testing.T) {
	t.Parallel()
	type inner struct{ Map map[string]*int }
	type trip struct {
		ID                string
		Seen              map[string]*int // nil: asked, no answer yet
		Any               map[string]any
		Big               int64
		Unsigned          uint64
		At                time.Time
		Empty, Nil, Bytes []byte
		List, None        []string
		Inner             *inner
		Gone              *inner
		Float             float64
		Text              string
	}
	one := 1
	whole := trip{Seen: map[string]*int{"hotel": nil, "car": &one}, Any: map[string]any{"x": nil, "deep": map[string]any{"y": nil}, "list": []any{nil}},
		Big: math.MaxInt64, Unsigned: math.MaxUint64, At: time.Date(2026, 2, 3, 4, 5, 6, 789, time.FixedZone("x", 3600)), Empty: []byte{}, Bytes: []byte("\xff\x00"),
		List: []string{}, Inner: &inner{Map: map[string]*int{"": nil}}, Float: 5e-324, Text: "a\x00<\u2028ü"}
	s := sagaSite(t)
	fill := func(_ context.Context, _ *gorm.DB, x *trip) error { id := x.ID; *x = whole; x.ID = id; return nil }
	same := func(_ context.Context, _ *gorm.DB, x *trip) error {
		want := whole
		want.ID = x.ID
		got, err := json.Marshal(x)
		if wanted, _ := json.Marshal(want); err == nil && string(got) != string(wanted) {
			err = holdfast.Permanent(fmt.Errorf("it is %s", got))
		}
		return err
	}
	change := func(_ context.Context, _ *gorm.DB, x *trip) error {
		x.Seen["car"], x.Seen["train"] = nil, &one
		delete(x.Seen, "hotel")
		x.Any, x.Inner, x.Big = map[string]any{}, nil, math.MaxInt64-1
		return nil
	}
	step := func(name string, do func(context.Context, *gorm.DB, *trip) error) saga.StepDef {
		return saga.Local(name, do, nil).NoUndo()
	}
	def := saga.Saga[trip]{Name: "trip", Key: func(x trip) string { return x.ID },
		Steps: []saga.Step[trip]{step("fill", fill), step("same", same), step("again", same), step("change", change)}}
	w := s.agency(def)
	h, err := worker.StartSaga(s.ctx(), w.Worker, def, trip{ID: newID()})
	require.NoError(t, err)
	x, err := h.Wait(s.ctx())
	require.NoError(t, err)
	require.Equal(t, map[string]*int{"car": nil, "train": &one}, x.Seen)
	require.Equal(t, map[string]any{}, x.Any)
	require.Nil(t, x.Inner)
	require.Equal(t, int64(math.MaxInt64-1), x.Big)
	require.True(t, whole.At.Equal(x.At))
	require.Equal(t, [][]byte{{}, nil, []byte("\xff\x00")}, [][]byte{x.Empty, x.Nil, x.Bytes})
	require.Equal(t, [][]string{{}, nil}, [][]string{x.List, x.None})
	require.Equal(t, whole.Text, x.Text)
}

// TestReservedHeaders: a header that RabbitMQ acts on, or writes itself, comes to the
// consumer as it was sent, also after retries and as a dead letter.
func TestReservedHeaders(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mine := map[string]string{}
	for _, name := range []string{"x-death", "x-delivery-count", "x-acquired-count", "x-first-death-queue", "x-last-death-reason", "CC", "BCC", "cc",
		"X-Death", "x-match", "x-delay", "priority", "expiration", "Ünï", "a=b"} {
		mine[name] = "mine: " + name
	}
	seen := make(chan map[string]string, 10)
	bad := broken(errOops)
	c := failing(s.effects, bad)
	handle := c.Handle
	c.Handle = func(ctx context.Context, tx *gorm.DB, m holdfast.Message) error {
		seen <- m.Headers
		return handle(ctx, tx, m)
	}
	c.Tries, c.Ladder = 1, []time.Duration{time.Second} // through a delay queue, and to the dead letters
	s.consumers["payments"] = true
	s.consuming(c)
	w := s.producer()
	for _, lane := range []holdfast.Lane{holdfast.Traced, holdfast.Express} {
		bad.Store(&errOops)
		m := order(newID())
		m.Headers, m.Lane = mine, lane
		_, err := w.Send(s.ctx(), m, insert)
		require.NoError(t, err)
		s.awaitLetter("payments", m.ID, workflows.Parked)
		bad.Store(nil)
		_, err = s.askLetter("payments", m.ID, deadletters.UpdateRedeliver, withAnswer)
		require.NoError(t, err)
		for range 3 {
			require.Equal(t, mine, next(t, seen))
		}
	}
	m := order(newID())
	for _, name := range []string{"holdfast-kind", "HOLDFAST-x", "holdfast-header-CC"} {
		m.Headers = map[string]string{name: "x"}
		_, err := w.Send(s.ctx(), m, insert)
		require.ErrorContains(t, err, name)
	}
}

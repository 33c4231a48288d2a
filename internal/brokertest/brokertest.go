// Package brokertest says in tests what package broker and the fake of the testing
// kit both promise.
package brokertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
)

// Broker is what both have.
type Broker interface {
	PublishHalf(ctx context.Context, h holdfast.Half) error
	PublishHalves(ctxs []context.Context, hs []holdfast.Half, done func(i int, err error))
	PublishMessages(ctx context.Context, group, txID string, ms []holdfast.Message) error
	PublishSagaCall(ctx context.Context, call broker.SagaCall, m holdfast.Message) error
	PublishSagaReply(ctx context.Context, call broker.SagaCall, r broker.SagaReply) error
	ReplyQueue(group string) string
	InstanceReplyQueue(group string) string
	Consume(ctx context.Context, o broker.Subscription) error
	ConsumeReplies(ctx context.Context, group string, handle func(context.Context, broker.SagaReply) error) error
}

// patience is how long a test waits for what must happen.
const patience = 5 * time.Minute

// world is one test's: the processes that open returns share a broker, and nothing
// with other tests.
type world struct {
	*testing.T
	open func(process string) Broker
}

// Run runs the suite. open gives a test its processes.
func Run(t *testing.T, open func(t *testing.T) func(process string) Broker) {
	for name, test := range map[string]func(w world){
		"a message reaches every consumer that its topic is bound to": everyConsumer,
		"wildcards":                          wildcards,
		"no consumer is bound":               unroutable,
		"invalid messages":                   invalid,
		"the properties of a message":        properties,
		"a message's time to live":           expired,
		"a failing handler is tried again":   triedAgain,
		"a consumer that gives up":           givesUp,
		"what waits outlives its consumer":   outlives,
		"a call and its reply":               roundTrip,
		"a call that nobody is bound to":     unroutableCall,
		"a repeated call has the same ID":    sameID,
		"a reply whose process is gone":      vanished,
		"a reply that is not taken":          notTaken,
		"a reply to where no replies belong": foreign,
	} {
		t.Run(name, func(t *testing.T) { test(world{t, open(t)}) })
	}
}

// log is what was delivered.
type log struct {
	mu         sync.Mutex
	deliveries []broker.Delivery
	replies    []broker.SagaReply
}

func (l *log) handle(_ context.Context, d broker.Delivery) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries = append(l.deliveries, d)
	return nil
}

func (l *log) take(_ context.Context, r broker.SagaReply) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replies = append(l.replies, r)
	return nil
}

func (l *log) topics() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, d := range l.deliveries {
		out = append(out, d.Message.Topic)
	}
	return out
}

func (l *log) count() int { return len(l.topics()) }

func (w world) eventually(condition func() bool) {
	w.Helper()
	require.Eventually(w, condition, patience, 5*time.Millisecond)
}

// consume runs a consumer until stop or the test's end, and returns once its queue
// is bound.
func (w world) consume(b Broker, o broker.Subscription) (stop func()) {
	w.Helper()
	if o.Ladder == nil {
		o.Ladder = []time.Duration{}
	}
	ready := make(chan struct{})
	handle, once := o.Handle, sync.Once{}
	o.Handle = func(ctx context.Context, d broker.Delivery) error {
		if d.Message.Topic == "ready."+o.Name {
			once.Do(func() { close(ready) })
			return nil
		}
		return handle(ctx, d)
	}
	o.Topics = append([]string{"ready." + o.Name}, o.Topics...)
	stop = w.background(func(ctx context.Context) error { return b.Consume(ctx, o) })
	w.eventually(func() bool { return w.publish(b, "ready."+o.Name) == nil })
	select {
	case <-ready:
	case <-time.After(patience):
		w.Fatal("the consumer gets nothing")
	}
	return stop
}

// consumeReplies does the same for a group's replies.
func (w world) consumeReplies(b Broker, handle func(context.Context, broker.SagaReply) error) (stop func()) {
	w.Helper()
	own, shared := make(chan struct{}), make(chan struct{})
	var onceOwn, onceShared sync.Once
	stop = w.background(func(ctx context.Context) error {
		return b.ConsumeReplies(ctx, group, func(ctx context.Context, r broker.SagaReply) error {
			switch r.Step {
			case "ready-own":
				onceOwn.Do(func() { close(own) })
			case "ready-shared":
				onceShared.Do(func() { close(shared) })
			default:
				return handle(ctx, r)
			}
			return nil
		})
	})
	ask := func(step string, direct bool) func() error {
		return func() error {
			call := callOf(b)
			if call.Step = step; !direct {
				call.ReplyTo = ""
			}
			return b.PublishSagaReply(w.Context(), call, done)
		}
	}
	w.repeat(own, ask("ready-own", true))
	w.repeat(shared, ask("ready-shared", false))
	return stop
}

// repeat publishes until done. Before the queue is there, nothing can be published.
func (w world) repeat(done <-chan struct{}, publish func() error) {
	w.Helper()
	var refused error
	w.eventually(func() bool {
		select {
		case <-done:
			return true
		default:
		}
		if err := publish(); errors.Is(err, holdfast.ErrUnroutable) {
			return false
		} else if err != nil {
			refused = err
			return true
		}
		select {
		case <-done:
			return true
		case <-time.After(200 * time.Millisecond): // it went to the durable queue, which another process serves
			return false
		}
	})
	require.NoError(w, refused)
}

func (w world) background(run func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil && ctx.Err() == nil {
			w.Errorf("it ended: %v", err)
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
		})
	}
	w.Cleanup(stop)
	return stop
}

const group = "shop"

func (w world) publish(b Broker, topics ...string) error {
	ms := make([]holdfast.Message, len(topics))
	for i, topic := range topics {
		ms[i] = holdfast.Message{Topic: topic, Key: "K", ContentType: "text/plain",
			Headers: map[string]string{"a": "b"}, Body: []byte("x")}
	}
	holdfast.NumberMessages("tx-1", ms)
	return b.PublishMessages(w.Context(), group, "tx-1", ms)
}

func everyConsumer(w world) {
	a, b := w.open("a"), w.open("b")
	var first, second, other log
	w.consume(a, broker.Subscription{Name: "first", Topics: []string{"order.placed"}, Handle: first.handle})
	w.consume(b, broker.Subscription{Name: "second", Topics: []string{"order.placed"}, Handle: second.handle})
	w.consume(b, broker.Subscription{Name: "other", Topics: []string{"order.paid"}, Handle: other.handle})
	require.NoError(w, w.publish(a, "order.placed"))
	w.eventually(func() bool { return first.count() == 1 && second.count() == 1 })
	d := first.deliveries[0]
	require.Equal(w, holdfast.Message{ID: "tx-1", Topic: "order.placed",
		Key: "K", ContentType: "text/plain", Headers: map[string]string{"a": "b"}, Body: []byte("x")}, d.Message)
	require.Equal(w, "tx-1", d.TxID)
	require.Equal(w, group, d.Group)
	require.Equal(w, 1, d.Attempt)
	require.Nil(w, d.Saga)
	require.NoError(w, w.publish(b, "order.paid"))
	w.eventually(func() bool { return other.count() == 1 })
	require.Equal(w, 1, second.count())
}

func wildcards(w world) {
	b := w.open("a")
	var star, hash, middle log
	w.consume(b, broker.Subscription{Name: "star", Topics: []string{"order.*"}, Handle: star.handle})
	w.consume(b, broker.Subscription{Name: "hash", Topics: []string{"order.#"}, Handle: hash.handle})
	w.consume(b, broker.Subscription{Name: "middle", Topics: []string{"#.eu.*", "*.us"}, Handle: middle.handle})
	for _, topic := range []string{"order", "order.placed", "order.placed.eu",
		"order.eu.placed", "eu.placed", "order.us"} {
		_ = w.publish(b, topic) // some are for nobody
	}
	last := func(l *log, topic string, want ...string) {
		w.Helper()
		w.eventually(func() bool { return contains(l.topics(), topic) })
		w.eventually(func() bool { return l.count() == len(want) })
		require.ElementsMatch(w, want, l.topics()) // one that failed at first comes later
	}
	last(&star, "order.us", "order.placed", "order.us")
	last(&hash, "order.us", "order", "order.placed", "order.placed.eu", "order.eu.placed", "order.us")
	last(&middle, "order.us", "order.eu.placed", "eu.placed", "order.us")
}

func contains(all []string, one string) bool {
	for _, x := range all {
		if x == one {
			return true
		}
	}
	return false
}

func unroutable(w world) {
	b := w.open("a")
	var l log
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"bound"}, Handle: l.handle})
	err := w.publish(b, "bound", "unbound")
	require.ErrorIs(w, err, holdfast.ErrUnroutable)
	require.ErrorContains(w, err, "no consumer is bound to unbound")
	w.eventually(func() bool { return l.count() == 1 })
	m := holdfast.Message{ID: "m", Topic: "unbound", AllowUnrouted: true}
	require.NoError(w, b.PublishMessages(w.Context(), group, "m", []holdfast.Message{m}))
}

func invalid(w world) {
	b := w.open("a")
	require.ErrorIs(w, b.PublishMessages(w.Context(), group, "tx", []holdfast.Message{{ID: "m"}}), holdfast.ErrInvalid)
	require.ErrorIs(w, b.PublishMessages(w.Context(), group, "tx", []holdfast.Message{{Topic: "a"}}), holdfast.ErrInvalid)
	require.ErrorIs(w, b.PublishMessages(w.Context(), "", "tx", []holdfast.Message{{ID: "m", Topic: "a"}}),
		holdfast.ErrInvalid)
	large := holdfast.Message{ID: "m", Topic: "a", Body: make([]byte, holdfast.MaxBody+1)}
	require.ErrorIs(w, b.PublishMessages(w.Context(), group, "tx", []holdfast.Message{large}), holdfast.ErrTooLarge)
	require.ErrorIs(w, b.PublishHalf(w.Context(),
		holdfast.Half{TxID: "m", Group: group, Messages: []holdfast.Message{large}}), holdfast.ErrTooLarge)
	require.ErrorIs(w, b.PublishHalf(w.Context(), holdfast.Half{TxID: "s", Group: group,
		Saga: &holdfast.SagaStart{Name: "s", Version: 1, Key: "k"}}), holdfast.ErrInvalid)
	var mu sync.Mutex
	told := map[int]error{}
	b.PublishHalves([]context.Context{w.Context(), w.Context()}, []holdfast.Half{
		{TxID: "m", Group: group, Messages: []holdfast.Message{large}},
		{TxID: "n", Group: group, Messages: []holdfast.Message{{ID: "n"}}}}, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		told[i] = err
	})
	require.Len(w, told, 2)
	require.ErrorIs(w, told[0], holdfast.ErrTooLarge)
	require.ErrorIs(w, told[1], holdfast.ErrInvalid)
	require.ErrorIs(w, b.PublishSagaReply(w.Context(), callOf(b), broker.SagaReply{Outcome: "perhaps"}),
		holdfast.ErrInvalid)
	tooLong := broker.SagaReply{Outcome: "done", Result: json.RawMessage(`"` +
		strings.Repeat("x", broker.MaxSagaResult) + `"`)}
	require.ErrorIs(w, b.PublishSagaReply(w.Context(), callOf(b), tooLong), holdfast.ErrTooLarge)
}

func triedAgain(w world) {
	b := w.open("a")
	var l log
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"t"},
		Handle: func(ctx context.Context, d broker.Delivery) error {
			if d.Attempt == 1 {
				return errors.New("not now")
			}
			if d.Attempt == 2 {
				panic("not now either")
			}
			return l.handle(ctx, d)
		}})
	require.NoError(w, w.publish(b, "t"))
	w.eventually(func() bool { return l.count() == 1 })
	require.Equal(w, 3, l.deliveries[0].Attempt)
}

func givesUp(w world) {
	b := w.open("a")
	var mu sync.Mutex
	tries, failures := map[string]int{}, map[string]holdfast.Failure{}
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"t", "p", "m"}, Tries: 2,
		Handle: func(_ context.Context, d broker.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			tries[d.Message.Topic]++
			switch d.Message.Topic {
			case "p":
				return holdfast.Permanent(errors.New("never"))
			case "m":
				return fmt.Errorf("%w: no order", holdfast.ErrMalformed)
			}
			return errors.New("not now")
		},
		GiveUp: func(_ context.Context, d broker.Delivery, f holdfast.Failure) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			failures[d.Message.Topic] = f
			return true, nil
		}})
	require.NoError(w, w.publish(b, "t"))
	require.NoError(w, w.publish(b, "p"))
	require.NoError(w, w.publish(b, "m"))
	w.eventually(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(failures) == 3
	})
	require.Equal(w, map[string]int{"t": 2, "p": 1, "m": 1}, tries)
	require.Equal(w, holdfast.ClassMalformed, failures["m"].Class)
	require.Equal(w, holdfast.ClassError, failures["t"].Class)
	require.Equal(w, 2, failures["t"].Attempts)
	require.Contains(w, failures["t"].Reason, "not now")
	require.Equal(w, "c", failures["t"].Consumer)
	require.Equal(w, holdfast.ClassPermanent, failures["p"].Class)
}

func outlives(w world) {
	b := w.open("a")
	var l log
	stop := w.consume(b, broker.Subscription{Name: "c", Topics: []string{"t"}, Handle: l.handle})
	stop()
	require.NoError(w, w.publish(b, "t"))
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"t"}, Handle: l.handle})
	w.eventually(func() bool { return l.count() == 1 })
}

func callOf(b Broker) broker.SagaCall {
	return broker.SagaCall{Saga: "saga/shop/order/1", Workflow: "saga/shop/order/1/undo", Group: group, Step: "reserve",
		ReplyTo: b.InstanceReplyQueue(group), Replies: b.ReplyQueue(group)}
}

// done is a reply: what it answers, it has of its call.
var done = broker.SagaReply{Outcome: "done"}

func roundTrip(w world) {
	home, away := w.open("home"), w.open("away")
	var calls, replies log
	w.consumeReplies(home, replies.take)
	w.consume(away, broker.Subscription{Name: "stock", Topics: []string{"stock.#"},
		Handle: func(ctx context.Context, d broker.Delivery) error {
			if err := calls.handle(ctx, d); err != nil {
				return err
			}
			return away.PublishSagaReply(ctx, *d.Saga, broker.SagaReply{Step: "whatever", Outcome: "refused",
				Class: holdfast.ClassPermanent, Reason: "because", Result: json.RawMessage(`{"n":1}`), Participant: "stock"})
		}})
	call := callOf(home)
	call.Undo, call.Cause, call.Again, call.Token = true, "card declined", true, "secret"
	m := holdfast.Message{Topic: "stock.release", Key: "K", ContentType: "application/json",
		Headers: map[string]string{"a": "b"}, Body: []byte(`{}`)}
	require.NoError(w, home.PublishSagaCall(w.Context(), call, m))
	w.eventually(func() bool {
		replies.mu.Lock()
		defer replies.mu.Unlock()
		return len(replies.replies) == 1
	})
	got := calls.deliveries[0]
	require.NotEmpty(w, got.Message.ID)
	m.ID = got.Message.ID
	require.Equal(w, m, got.Message)
	call.Topic = m.Topic
	require.Equal(w, &call, got.Saga)
	require.Equal(w, group, got.Group)
	require.Equal(w, broker.SagaReply{Saga: call.Saga, Workflow: call.Workflow,
		Step: call.Step, Undo: true, Outcome: "refused",
		Class: holdfast.ClassPermanent, Reason: "because", Result: json.RawMessage(`{"n":1}`), Participant: "stock",
		Token: "secret", Topic: m.Topic}, replies.replies[0])
}

func unroutableCall(w world) {
	b := w.open("a")
	err := b.PublishSagaCall(w.Context(), callOf(b),
		holdfast.Message{Topic: "nobody", Body: []byte(`{}`), ContentType: "application/json"})
	require.ErrorIs(w, err, holdfast.ErrUnroutable)
	require.ErrorContains(w, err, "nobody")
}

func sameID(w world) {
	b := w.open("a")
	var l log
	w.consume(b, broker.Subscription{Name: "c", Topics: []string{"t"}, Handle: l.handle})
	call := callOf(b)
	m := holdfast.Message{Topic: "t", ContentType: "application/json", Body: []byte(`{}`)}
	require.NoError(w, b.PublishSagaCall(w.Context(), call, m))
	call.Again, call.Cause = true, "x"
	require.NoError(w, b.PublishSagaCall(w.Context(), call, m))
	call.Undo = true
	require.NoError(w, b.PublishSagaCall(w.Context(), call, m))
	call.Step = "another"
	require.NoError(w, b.PublishSagaCall(w.Context(), call, m))
	w.eventually(func() bool { return l.count() == 4 })
	ids := map[string]int{}
	for _, d := range l.deliveries {
		ids[d.Message.ID]++
	}
	require.Len(w, ids, 3)
}

func vanished(w world) {
	home, away := w.open("home"), w.open("away")
	var lost, found log
	stop := w.consumeReplies(home, lost.take)
	stop()
	require.NoError(w, away.PublishSagaReply(w.Context(), callOf(home), done))
	w.consumeReplies(away, found.take)
	w.eventually(func() bool {
		found.mu.Lock()
		defer found.mu.Unlock()
		return len(found.replies) == 1
	})
	require.Empty(w, lost.replies)
}

func notTaken(w world) {
	b := w.open("a")
	var mu sync.Mutex
	came := 0
	w.consumeReplies(b, func(context.Context, broker.SagaReply) error {
		mu.Lock()
		defer mu.Unlock()
		if came++; came == 1 {
			return errors.New("Temporal is away")
		}
		return nil
	})
	require.NoError(w, b.PublishSagaReply(w.Context(), callOf(b), done))
	w.eventually(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return came == 2
	})
}

func foreign(w world) {
	b := w.open("a")
	var l log
	w.consumeReplies(b, l.take)
	w.consume(b, broker.Subscription{Name: "victim", Topics: []string{"t"},
		Handle: func(_ context.Context, d broker.Delivery) error {
			w.Errorf("a reply in a consumer's queue: %v", d)
			return nil
		}})
	call := callOf(b)
	call.ReplyTo = strings.TrimSuffix(b.ReplyQueue(group), "replies."+group) + "q.victim"
	require.NoError(w, b.PublishSagaReply(w.Context(), call, done))
	w.eventually(func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.replies) == 1
	})
	call.Replies = "somebody.elses.queue"
	require.ErrorIs(w, b.PublishSagaReply(w.Context(), call, done), holdfast.ErrInvalid)
}

package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/internal/stepend"
	"github.com/holdfastmq/holdfast/keyring"
)

// newSigner is a new keyring that signs, and its file.
func newSigner(t *testing.T) (*keyring.Signer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "signing.json")
	_, err := keyring.NewSigner(path)
	require.NoError(t, err)
	return openSigner(t, path), path
}

func openSigner(t *testing.T, path string) *keyring.Signer {
	t.Helper()
	s, err := keyring.OpenSigner(path)
	require.NoError(t, err)
	return s
}

// signing opens a Broker that signs.
func signing(t *testing.T, prefix string, s holdfast.Signer, mode holdfast.Signing) *Broker {
	t.Helper()
	return open(t, stacktest.Shared(t).AMQPURL(), prefix, func(o *Options) {
		o.Signer, o.Signing, o.PublishTimeout = s, mode, 20*time.Second
	})
}

// placedRecord is a record, and where it is published.
type placedRecord struct {
	exchange, key string
	msg           amqp.Publishing
}

// signed is the record with its signature, made for exchange and key.
func (r placedRecord) signed(t *testing.T, s holdfast.Signer, exchange, key string) placedRecord {
	t.Helper()
	_, err := wire.Sign(s, exchange, key, &r.msg)
	require.NoError(t, err)
	return r
}

// forgeries are what a stranger with every right in RabbitMQ, but without the keys, can make
// of a record, and a genuine one of another place that he has seen.
func (r placedRecord) forgeries(t *testing.T, s holdfast.Signer) map[string]placedRecord {
	other, _ := newSigner(t)
	changed := r.signed(t, s, r.exchange, r.key)
	changed.msg.Body = append([]byte(" "), changed.msg.Body...)
	more := r.signed(t, s, r.exchange, r.key)
	more.msg.Headers[wire.HeaderAgain] = "1"
	broken := r
	broken.msg.Headers = amqp.Table{}
	for name, value := range r.msg.Headers {
		broken.msg.Headers[name] = value
	}
	broken.msg.Headers[wire.HeaderSignature] = "1:x"
	return map[string]placedRecord{
		"unsigned":                  r,
		"by another key":            r.signed(t, other, r.exchange, r.key),
		"for another exchange":      r.signed(t, s, "elsewhere", r.key),
		"for another key":           r.signed(t, s, r.exchange, r.key+"x"),
		"with another body":         changed,
		"with one more header":      more,
		"with a broken signature":   broken,
		"of another, with its name": func() placedRecord { x := r.signed(t, s, r.exchange, r.key); x.msg.CorrelationId = "?"; return x }(),
	}
}

// controlRecords are one of each kind, as Holdfast writes it. Their IDs begin with id.
func controlRecords(t *testing.T, b *Broker, id string) map[string]placedRecord {
	t.Helper()
	h := half(id+"half", "g")
	halfMsg, err := wire.EncodeHalf(h)
	require.NoError(t, err)
	sagaMsg, err := wire.EncodeHalf(holdfast.Half{TxID: id + "saga", Group: "g", At: time.Now(), Lane: holdfast.Express,
		Saga: &holdfast.SagaStart{Name: "pay", Version: 1, Key: "o-1", State: json.RawMessage(`{"id":"o-1"}`)}})
	require.NoError(t, err)
	op := wire.EncodeOp("g", wire.OpRecord{Commit: []string{id + "op"}})
	letter := holdfast.DeadLetter{ID: id + "notice", TxID: "tx", Group: "g", Queue: b.ConsumerQueue("c"),
		Message: holdfast.Message{ID: id + "notice", Topic: "order.placed", Body: []byte("{}")},
		Failure: holdfast.Failure{Consumer: "c", Class: holdfast.ClassError, Reason: "oops"}}
	letter.Envelope.MessageID = letter.ID
	notice := wire.EncodeNotice(&letter)
	call := wire.SagaCall{Saga: id, Workflow: id, Group: "g", Step: "s", Replies: b.ReplyQueue("g"), Token: "t"}
	callMsg := wire.EncodeCall(&call, holdfast.Message{ID: call.MessageID(), Topic: "order.stock", Body: []byte("{}")})
	reply, err := wire.EncodeReply(&call, wire.SagaReply{Outcome: stepend.Done})
	require.NoError(t, err)
	placed := &amqp.Delivery{Exchange: b.TopicsExchange(), RoutingKey: "order.placed", MessageId: id + "message", Body: []byte("{}"),
		Headers: amqp.Table{wire.HeaderTx: "tx", wire.HeaderGroup: "g", wire.HeaderTopic: "order.placed"}}
	retry, ok := wire.EncodeRetry(placed, "c", wire.Failure{Class: holdfast.ClassError, Reason: "oops"})
	require.True(t, ok)
	dead := wire.EncodeDead(placed, wire.Death{Queue: b.ConsumerQueue("c"), Consumer: "c", At: time.Now(),
		Policy: holdfast.Policy{Action: holdfast.PolicyCompensate}, Failure: wire.Failure{Class: holdfast.ClassError, Reason: "oops"}})
	handled := wire.EncodeHandled(b.ConsumerQueue("c"), "c", id+"handled", "", 1)
	held := b.HalfQueue("g")
	return map[string]placedRecord{
		"half":              {b.HalfExchange(), held, halfMsg},
		"saga":              {b.c.HalfExchangeOf(sagaMsg.Headers), held, sagaMsg},
		"op":                {b.HalfExchange(), held, op},
		"notice":            {b.NoticesExchange(), "order.placed", notice},
		"notice to one":     {b.QueuesExchange(), b.ConsumerQueue("c"), notice},
		"call":              {b.TopicsExchange(), "order.stock", callMsg},
		"reply":             {b.RepliesExchange(), b.ReplyQueue("g"), reply},
		"retry at the tail": {b.QueuesExchange(), b.ConsumerQueue("c"), retry},
		"retry":             {b.RetryQueue(rungs(1)[0]), b.ConsumerQueue("c"), retry},
		"dead letter":       {b.DeadQueue(), b.DeadQueue(), dead},
		"handled":           {b.DeadQueue(), b.DeadQueue(), handled},
	}
}

// acting runs one of everything that acts on control records, on b.
func acting(t *testing.T, b *Broker) (acted chan string, records <-chan DeadRecord) {
	t.Helper()
	ctx := testContext(t)
	acted = make(chan string, 1000)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*"}, "order.placed"))
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	keep(t, b, func(o *KeeperOptions) {
		soon(o)
		o.HandOver = func(_ context.Context, halves []holdfast.Half) []error {
			for _, h := range halves {
				acted <- h.TxID
			}
			return make([]error, len(halves))
		}
	})
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { acted <- "reply to " + r.Saga; return nil })
	b.testConsumer(t, func(o *Subscription) {
		o.Topics, o.Notices, o.Ladder = []string{"order.*"}, []string{"order.placed"}, rungs(1)
		o.Policy = holdfast.Policy{Action: holdfast.PolicyCompensate}
		o.GiveUp = func(_ context.Context, d Delivery, _ holdfast.Failure) (bool, error) {
			acted <- "given up " + d.Message.ID
			return false, nil
		}
	}, func(_ context.Context, d Delivery) error {
		what := d.Message.ID
		if d.Saga != nil {
			what = "call of " + d.Saga.Saga
		}
		acted <- what
		return nil
	})
	untilExchange(t, b, b.RetryQueue(rungs(1)[0])) // the consumer makes its ladder as it begins
	return acted, deadLetters(t, b)
}

// untilExchange waits until there is an exchange.
func untilExchange(t *testing.T, b *Broker, name string) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := b.c.Consuming.Get(testContext(t))
		require.NoError(t, err)
		ch, err := conn.Channel()
		require.NoError(t, err)
		defer ch.Close()
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeDirect, true, false, false, false, nil) == nil
	}, time.Minute, 20*time.Millisecond)
}

// Whoever may publish each kind of record, and does not have the keys, has nothing done: what
// he wrote is kept with the dead letters, says why, and waits for an operator.
func TestForgedSignatures(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	b := signing(t, stacktest.Prefix(t), s, holdfast.SigningRequired)
	acted, records := acting(t, b)
	sent := 0
	for kind, r := range controlRecords(t, b, "forged-") {
		for forgery, f := range r.forgeries(t, s) {
			publishRaw(t, b, f.exchange, f.key, f.msg)
			l := next(t, records)
			require.Nil(t, l.Handled, "%s %s", kind, forgery)
			require.Contains(t, l.Letter.Failure.Reason, "does not count", "%s %s", kind, forgery)
			require.Contains(t, l.Letter.Failure.Reason, holdfast.ErrForged.Error(), "%s %s", kind, forgery)
			require.Zero(t, l.Letter.Policy, "%s %s", kind, forgery)
			require.NotContains(t, l.Letter.Envelope.Headers, wire.HeaderSignature)
			require.NotContains(t, l.Letter.Envelope.Headers, wire.HeaderRefused)
			if kind != "dead letter" && kind != "handled" {
				require.Equal(t, holdfast.ClassMalformed, l.Letter.Failure.Class, "%s %s", kind, forgery)
			}
			sent++
		}
	}
	require.Empty(t, acted)
	answers, err := b.Ask(testContext(t), 0)
	require.NoError(t, err)
	status := answers[0].Signing
	require.Equal(t, holdfast.SigningRequired, status.Mode)
	require.GreaterOrEqual(t, status.Refused, uint64(sent))
	require.Zero(t, status.Unsigned)
	require.Contains(t, status.Why, "not genuine")
	require.NotEmpty(t, status.From)

	// What is signed counts: so the forgeries were refused for nothing else.
	for kind, r := range controlRecords(t, b, "true-") {
		f := r.signed(t, s, r.exchange, r.key)
		publishRaw(t, b, f.exchange, f.key, f.msg)
		switch kind {
		case "op": // its transaction is forgotten
		case "dead letter":
			l := next(t, records)
			require.Equal(t, holdfast.PolicyCompensate, l.Letter.Policy.Action)
			require.NotContains(t, l.Letter.Failure.Reason, "count")
		case "handled":
			require.NotNil(t, next(t, records).Handled)
		default:
			require.Contains(t, next(t, acted), "true-", kind)
		}
	}
}

// An operator who knows better has a refused record count: it is delivered again as what he did.
func TestARefusedRecordIsRedelivered(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	b := signing(t, stacktest.Prefix(t), s, holdfast.SigningRequired)
	acted, records := acting(t, b)
	for kind, r := range controlRecords(t, b, "late-") {
		if kind != "half" && kind != "saga" && kind != "call" && kind != "notice" && kind != "retry" {
			continue
		}
		publishRaw(t, b, r.exchange, r.key, r.msg)
		l := next(t, records)
		require.NoError(t, b.Redeliver(testContext(t), wire.RedeliverRequest{Letter: *l.Letter, N: 1, Operator: "ann"}), kind)
		require.Contains(t, next(t, acted), "late-", kind)
		require.NotNil(t, next(t, records).Handled, kind)
	}
}

// What RabbitMQ moved, what a breaker or an end of a process puts back, and what waits for a
// try is signed for where it was put, and counts.
func TestSignedRecordsGoRound(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	b := signing(t, stacktest.Prefix(t), s, holdfast.SigningRequired)
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"order.*"}))
	got := make(chan Delivery, 10)
	tries := 0
	b.testConsumer(t, func(o *Subscription) { o.Tries, o.Ladder = 1, rungs(1) }, func(_ context.Context, d Delivery) error {
		got <- d
		if tries++; tries < 3 {
			return errOops
		}
		return nil
	})
	records := deadLetters(t, b)
	publishTx(t, b, newTx())
	require.Equal(t, 1, next(t, got).Attempt)
	require.Equal(t, 2, next(t, got).Attempt, "after a delay")
	l := next(t, records).Letter
	require.Equal(t, holdfast.ClassError, l.Failure.Class)
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: *l, N: 1, Operator: "ann"}))
	require.Equal(t, 1, next(t, got).Redelivery)
	require.NotNil(t, next(t, records).Handled)

	// A reply in the queue of a process that is gone, which RabbitMQ moves.
	call := aCall(b)
	require.NoError(t, b.topo.DeclareReplies(ctx, "g"))
	rawChannel(t, b, func(ch *amqp.Channel) {
		_, err := ch.QueueDeclare(call.ReplyTo, false, false, false, false, amqp.Table{"x-message-ttl": int64(1), "x-expires": int64(600000),
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": call.Replies})
		require.NoError(t, err)
		require.NoError(t, ch.QueueBind(call.ReplyTo, call.ReplyTo, b.RepliesExchange(), false, nil))
	})
	require.NoError(t, b.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
	eventually(t, "moved", func() bool { return ready(t, b, call.Replies) == 1 })
	stacktest.DeleteQueues(t, b.o.URL, call.ReplyTo)
	replies := make(chan wire.SagaReply, 1)
	takeReplies(t, b, func(_ context.Context, r wire.SagaReply) error { replies <- r; return nil })
	require.Equal(t, call.Saga, next(t, replies).Saga)
}

// A process that puts a forged record back, untried, does not make a genuine one of it: neither
// a consumer that ends, nor an operator's program that empties a delay.
func TestForgeriesArePutBack(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	b := signing(t, stacktest.Prefix(t), s, holdfast.SigningRequired)
	ctx := testContext(t)
	const delay = 23 * time.Minute
	require.NoError(t, b.topo.DeclareConsumer(ctx, "c", wire.Bindings{Topics: []string{"order.*"}}, []time.Duration{delay}))
	retry := controlRecords(t, b, "forged-")["retry at the tail"]
	got, stay := make(chan string, 10), make(chan struct{})
	stop := b.testConsumer(t, func(o *Subscription) { o.Concurrency, o.Prefetch = 1, 10 }, func(_ context.Context, d Delivery) error {
		got <- d.Message.ID
		<-stay
		return nil
	})
	publishTx(t, b, "busy")
	require.Equal(t, "busy", next(t, got))
	publishRaw(t, b, retry.exchange, retry.key, retry.msg)
	eventually(t, "it was fetched", func() bool { return b.c.Signatures.Status().Refused == 1 })
	go func() {
		eventually(t, "it is put back", func() bool { return ready(t, b, retry.key) == 1 })
		close(stay)
	}()
	stop()
	d := take(t, b, retry.key)
	// It may have been given back as it was; as a process of ours writes it anew, it is signed.
	seen := amqp.Delivery{Exchange: retry.exchange, RoutingKey: retry.key, MessageId: retry.msg.MessageId, Headers: retry.msg.Headers, Body: retry.msg.Body}
	b.c.Trust().Admit(&seen)
	anew := placedRecord{retry.exchange, retry.key, wire.CopyOf(&seen)}.signed(t, s, retry.exchange, retry.key)
	publishRaw(t, b, anew.exchange, anew.key, anew.msg)
	publishRaw(t, b, d.Exchange, d.RoutingKey, amqp.Publishing{MessageId: d.MessageId, Headers: d.Headers, Body: d.Body,
		ContentType: d.ContentType, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Type: d.Type, AppId: d.AppId})

	publishRaw(t, b, b.RetryQueue(delay), retry.key, retry.msg)
	eventually(t, "moved", func() bool {
		counts, err := b.RetryLadder(ctx, b.RetryQueue(delay), MaxLadder, "c")
		require.NoError(t, err)
		return counts["c"] == 1
	})
	records := deadLetters(t, b)
	b.testConsumer(t, nil, func(_ context.Context, d Delivery) error { got <- d.Message.ID; return nil })
	for range 3 {
		l := next(t, records).Letter
		require.Equal(t, "forged-message", l.ID)
		require.Contains(t, l.Failure.Reason, "it is not signed")
	}
	require.Empty(t, got)
}

// While signing is switched on, processes of three kinds work together: what does not sign is
// taken by those that sign, and counted. Once it is required, nothing of it is lost.
func TestSigningIsSwitchedOn(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	prefix, ctx := stacktest.Prefix(t), testContext(t)
	before := signing(t, prefix, nil, "")
	on := signing(t, prefix, s, "")
	acted, records := acting(t, on)
	require.NoError(t, before.PublishHalf(ctx, half("old", "g")))
	require.Equal(t, "old", next(t, acted))
	call := aCall(before)
	call.ReplyTo = ""
	require.NoError(t, before.PublishSagaReply(ctx, call, wire.SagaReply{Outcome: stepend.Done}))
	require.Equal(t, "reply to "+call.Saga, next(t, acted))
	answers, err := on.Ask(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, holdfast.SigningOn, answers[0].Signing.Mode)
	require.EqualValues(t, 2, answers[0].Signing.Unsigned)
	require.Zero(t, answers[0].Signing.Refused)
	require.Contains(t, answers[0].Signing.Why, "not signed")
	require.Empty(t, records)

	// A process that does not sign passes on what is signed, and takes it.
	got := make(chan Delivery, 10)
	require.NoError(t, before.DeclareConsumer(ctx, "old", []string{"other.*"}))
	before.testConsumer(t, func(o *Subscription) { o.Name, o.Topics, o.Tries, o.Ladder = "old", []string{"other.*"}, 1, rungs(1) },
		func(_ context.Context, d Delivery) error {
			got <- d
			if d.Attempt == 1 {
				return errOops
			}
			return nil
		})
	call.Undo = false
	require.NoError(t, on.PublishSagaCall(ctx, call, holdfast.Message{ID: call.MessageID(), Topic: "other.x", Body: []byte("{}")}))
	require.Equal(t, call.Saga, next(t, got).Saga.Saga)
	require.Equal(t, call.Saga, next(t, got).Saga.Saga)

	required := signing(t, prefix+".r", s, holdfast.SigningRequired)
	late := signing(t, prefix+".r", nil, "")
	acted, records = acting(t, required)
	require.NoError(t, late.PublishHalf(ctx, half("late", "g")))
	l := next(t, records).Letter
	require.Equal(t, "late", l.ID)
	require.NoError(t, required.Redeliver(ctx, wire.RedeliverRequest{Letter: *l, N: 1}))
	require.Equal(t, "late", next(t, acted))
}

// A key that was staged everywhere signs without a record being refused; one that a process has
// not got yet is refused there, and is kept.
func TestSigningKeysRotate(t *testing.T) {
	t.Parallel()
	s, path := newSigner(t)
	prefix, ctx := stacktest.Prefix(t), testContext(t)
	other := filepath.Join(t.TempDir(), "copy.json")
	copyKeys := func() {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(other, data, 0o600))
	}
	copyKeys()
	sends := signing(t, prefix, s, holdfast.SigningRequired)
	b := signing(t, prefix, openSigner(t, other), holdfast.SigningRequired)
	acted, records := acting(t, b)
	first := s.List()[0].ID
	staged, err := keyring.Rotate(path, true)
	require.NoError(t, err)
	copyKeys()
	_, err = keyring.Rotate(path, false)
	require.NoError(t, err)
	require.Len(t, s.List(), 2) // and reads the file again
	require.NoError(t, sends.PublishHalf(ctx, half("second", "g")))
	require.Equal(t, "second", next(t, acted))
	require.Equal(t, staged.ID, sends.c.Signatures.Status().Key)
	require.NotEqual(t, first, staged.ID)

	_, err = keyring.Rotate(path, false) // and the copy does not have it
	require.NoError(t, err)
	require.Len(t, s.List(), 3)
	require.NoError(t, sends.PublishHalf(ctx, half("third", "g")))
	l := next(t, records).Letter
	require.Contains(t, l.Failure.Reason, "has no key")
	require.Empty(t, acted)
	copyKeys()
	require.NoError(t, sends.Redeliver(ctx, wire.RedeliverRequest{Letter: *l, N: 1}))
	require.Equal(t, "third", next(t, acted))
}

// What cannot work is said when a process begins.
func TestSigningOptions(t *testing.T) {
	s, _ := newSigner(t)
	for text, o := range map[string]Options{
		"HOLDFAST_SIGNING_KEYRING": {Signing: holdfast.SigningRequired},
		"sign nothing":             {Signing: holdfast.SigningRequired, Signer: s, RollingUpgrade: true},
		`signing "yes"`:            {Signing: "yes"},
	} {
		o.URL = "amqp://127.0.0.1:1"
		_, err := Open(testContext(t), o)
		require.ErrorIs(t, err, holdfast.ErrInvalid)
		require.ErrorContains(t, err, text)
	}
}

// Check-backs are signed, and so are the answers that count.
func TestSignedCheckBacks(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	b := signing(t, stacktest.Prefix(t), s, holdfast.SigningRequired)
	var sign func(*amqp.Publishing)
	f := newForeign(t, b, "orders", nil)
	f.answerWith(commitAll(t), func(p *amqp.Publishing) {
		if sign != nil {
			sign(p)
		}
	})
	require.NoError(t, b.topo.Declare(testContext(t), b.topo.CheckSteps()))
	rawChannel(t, b, func(ch *amqp.Channel) {
		require.NoError(t, ch.QueueBind(b.CheckQueue("orders"), b.CheckQueue("orders"), b.ChecksExchange(), false, nil))
	})
	got := b.CheckRemotely(testContext(t), "orders", checks(1))
	require.ErrorIs(t, got[0].Err, wire.ErrUnreached)
	require.ErrorContains(t, got[0].Err, "HOLDFAST_SIGNING_KEYRING")
	require.Equal(t, holdfast.Unknown, got[0].Resolution)
	d := f.seen()[0]
	require.NoError(t, wire.CheckSignature(s, d.Exchange, d.RoutingKey, &d))

	sign = func(p *amqp.Publishing) {
		_, err := wire.Sign(s, b.AnswersExchange(), "", p)
		require.NoError(t, err)
	}
	got = b.CheckRemotely(testContext(t), "orders", checks(1))
	require.NoError(t, got[0].Err)
	require.Equal(t, holdfast.Commit, got[0].Resolution)
}

// An alert that is not signed reaches nobody.
func TestSignedAlerts(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	b := signing(t, stacktest.Prefix(t), s, holdfast.SigningRequired)
	h := HookOf("orders", nil, false)
	got, denied, ignored := taking(t, b, h)
	require.NoError(t, next(t, denied))
	body, err := json.Marshal(holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "forged"})
	require.NoError(t, err)
	publishRaw(t, b, b.AlertsExchange(), AlertsOfGroup("orders"), amqp.Publishing{Body: body, Headers: amqp.Table{wire.HeaderKind: wire.KindAlert}})
	require.Contains(t, next(t, ignored), "it is not signed")
	_, err = b.PublishAlert(testContext(t), holdfast.Alert{Kind: holdfast.AlertParked, Group: "orders", ID: "true"}, AlertsOfGroup("orders"))
	require.NoError(t, err)
	require.Equal(t, "true", next(t, got).ID)
}

// fixedSigner shows what is signed.
type fixedSigner struct{ data []byte }

func (f *fixedSigner) Sign(data []byte) (string, []byte, error) {
	f.data = data
	return "7", []byte{1}, nil
}
func (f *fixedSigner) Check(string, []byte, []byte) error { return nil }

// The recipe in docs/wire-format.md, which programs in other languages follow.
func TestWhatIsSigned(t *testing.T) {
	f := &fixedSigner{}
	m := amqp.Publishing{MessageId: "order-1", ContentType: "application/json", ReplyTo: "amq.rabbitmq.reply-to.g1", Body: []byte("{}"),
		Headers: amqp.Table{"tenant": "north", "holdfast-kind": "half", "n": int32(5), "x-death": "x", "timestamp_in_ms": int64(1), wire.HeaderSignature: "old"}}
	name, err := wire.Sign(f, "holdfast.half", "holdfast.half.orders", &m)
	require.NoError(t, err)
	require.Equal(t, "7", name)
	require.Equal(t, "1:7:AQ", m.Headers[wire.HeaderSignature])
	sum := sha256.Sum256([]byte("{}"))
	require.Equal(t, "holdfast record 1\x00"+"\x0dholdfast.half"+"\x14holdfast.half.orders"+"\x10application/json"+"\x00"+"\x00"+
		"\x15amq.rabbitmq.reply-to"+"\x07order-1"+"\x00"+"\x00"+"\x03"+"\x0dholdfast-kind"+"\x04half"+"\x01n"+"\x015"+"\x06tenant"+"\x05north"+string(sum[:]),
		string(f.data))
	whole := sha256.Sum256(f.data)
	require.Equal(t, "c9bd3a0300befdd0b8b9fce466b3b04fa9f5ee55b677537211f44b5a77f9f0dd", hex.EncodeToString(whole[:]), "as the page says")
}

// BenchmarkSignature is what a record of 1 KiB costs who writes it, and who reads it.
func BenchmarkSignature(b *testing.B) {
	path := filepath.Join(b.TempDir(), "signing.json")
	_, err := keyring.NewSigner(path)
	require.NoError(b, err)
	s, err := keyring.OpenSigner(path)
	require.NoError(b, err)
	h := half(newTx(), "orders")
	h.Messages[0].Body = make([]byte, 1024)
	record, err := wire.EncodeHalf(h)
	require.NoError(b, err)
	const exchange, key = "holdfast.half", "holdfast.half.orders"
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m := record
			_, _ = wire.Sign(s, exchange, key, &m)
		}
	})
	signed := record
	_, err = wire.Sign(s, exchange, key, &signed)
	require.NoError(b, err)
	d := amqp.Delivery{Exchange: exchange, RoutingKey: key, Headers: signed.Headers, MessageId: signed.MessageId,
		ContentType: signed.ContentType, Body: signed.Body}
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := wire.CheckSignature(s, exchange, key, &d); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A retry counts in the queue that it was put into a delay for, and in no other, whatever the
// header x-death says, which whoever publishes may write.
func TestASignedRetryCountsInItsQueue(t *testing.T) {
	t.Parallel()
	s, _ := newSigner(t)
	const delay = "holdfast.retry.10s"
	trust := wire.Trust{Prefix: "holdfast", Check: func(exchange, key string, d *amqp.Delivery) error {
		return wire.CheckSignature(s, exchange, key, d)
	}}
	retry := placedRecord{delay, "holdfast.q.c", amqp.Publishing{MessageId: "m", Body: []byte("1"),
		Headers: amqp.Table{wire.HeaderRoutingKey: "order.placed", wire.HeaderAttempts: "1"}}}.signed(t, s, delay, "holdfast.q.c")
	for queue, genuine := range map[string]bool{"holdfast.q.c": true, "holdfast.q.other": false} {
		d := amqp.Delivery{Exchange: "holdfast.retry", RoutingKey: queue, MessageId: "m", Body: retry.msg.Body, Headers: amqp.Table{
			"x-death": []any{amqp.Table{"queue": delay, "exchange": delay, "reason": "expired", "routing-keys": []any{"holdfast.q.c"}}}}}
		maps.Copy(d.Headers, retry.msg.Headers)
		trust.Admit(&d)
		require.Equal(t, genuine, d.Headers[wire.HeaderRefused] == nil, queue)
	}
}

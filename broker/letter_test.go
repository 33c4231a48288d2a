package broker

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

var deathTime = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

// placed is a committed message as its consumer gets it.
func placed(change func(d *amqp.Delivery)) *amqp.Delivery {
	p := wire.EncodeMessage("orders", "tx-1", holdfast.Message{ID: "tx-1", Topic: "order.placed", Key: "order-1",
		ContentType: "text/plain", Headers: map[string]string{"tenant": "north", "CC": "x"}, Body: []byte("hello")})
	d := &amqp.Delivery{Headers: p.Headers, MessageId: p.MessageId, ContentType: p.ContentType, Body: p.Body,
		Exchange: "holdfast.topics", RoutingKey: "order.placed", Priority: 3, CorrelationId: "corr", AppId: "shop",
		Timestamp: time.Unix(1_700_000_000, 0)}
	if change != nil {
		change(d)
	}
	return d
}

// delivered is what comes of Holdfast's publishing to the queue of dead letters.
func delivered(p amqp.Publishing) *amqp.Delivery { return deliveredTo("holdfast", p) }

func deliveredTo(prefix string, p amqp.Publishing) *amqp.Delivery {
	return &amqp.Delivery{Exchange: prefix + wire.DeadName, Headers: p.Headers, MessageId: p.MessageId, ContentType: p.ContentType, ContentEncoding: p.ContentEncoding,
		Priority: p.Priority, CorrelationId: p.CorrelationId, ReplyTo: p.ReplyTo, Timestamp: p.Timestamp, Type: p.Type,
		AppId: p.AppId, Body: p.Body, RoutingKey: prefix + wire.DeadName}
}

// rabbits is a message as RabbitMQ dead-letters it.
func rabbits(queue, reason, exchange, key string, change func(d *amqp.Delivery)) *amqp.Delivery {
	d := placed(change)
	d.Exchange, d.RoutingKey = "", "holdfast.dead"
	if strings.HasPrefix(queue, "holdfast.retry.") {
		d.Exchange, d.RoutingKey = "holdfast.retry", key
	}
	d.Headers["x-death"] = []any{amqp.Table{"queue": queue, "reason": reason, "exchange": exchange, "count": int64(1),
		"routing-keys": []any{key}, "time": deathTime}}
	d.Headers["x-first-death-queue"] = queue
	return d
}

func TestReadsOurDeadLetters(t *testing.T) {
	d := placed(func(d *amqp.Delivery) {
		d.Headers[wire.HeaderRedelivery] = "2"
		d.Headers["raw"] = []byte{0xff, 0xfe}
		d.Expiration, d.UserId = "1000", "guest"
	})
	p := wire.EncodeDead(d, wire.DeathOf("holdfast.q.billing", "billing", 9, holdfast.Permanent(errors.New("no such order")), deathTime))
	p.Headers[wire.HeaderLog] = `[{"n":1,"at":"2026-11-21T07:00:00Z","class":"error","error":"first"}]`
	p.Headers[wire.HeaderPolicy] = holdfast.Policy{Action: holdfast.PolicyCompensate, AllowEdits: true}.String()
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(delivered(p), time.Now())
	require.Equal(t, holdfast.DeadLetter{
		ID: "tx-1", Queue: "holdfast.q.billing", TxID: "tx-1", Group: "orders", Size: 5,
		Message: holdfast.Message{ID: "tx-1", Topic: "order.placed", Key: "order-1", ContentType: "text/plain",
			Headers: map[string]string{"tenant": "north", "CC": "x", "raw": "\uFFFD"}, Body: []byte("hello"),
			CorrelationID: "corr", AppID: "shop", Priority: 3, TTL: time.Second},
		Failure: holdfast.Failure{Consumer: "billing", Class: holdfast.ClassPermanent, Reason: "no such order", Attempts: 9, At: deathTime,
			Log: []holdfast.Attempt{{N: 1, At: deathTime.Add(-time.Hour), Class: holdfast.ClassError, Error: "first"}}, Redelivery: 2},
		Policy: holdfast.Policy{Action: holdfast.PolicyCompensate, AllowEdits: true},
		Envelope: holdfast.Envelope{Exchange: "holdfast.topics", RoutingKey: "order.placed", MessageID: "tx-1", Priority: 3,
			CorrelationID: "corr", AppID: "shop", Timestamp: time.Unix(1_700_000_000, 0).UTC(),
			Headers: map[string]string{"tenant": "north", wire.HeaderUser + "CC": "x", wire.HeaderVersion: "1", wire.HeaderTx: "tx-1", wire.HeaderGroup: "orders",
				wire.HeaderTopic: "order.placed", wire.HeaderKey: "order-1", wire.HeaderExpiration: "1000", wire.HeaderUserID: "guest", wire.HeaderBase64 + "raw": "//4="}},
	}, l)
	again := wire.EnvelopeHeaders(&l.Envelope)
	require.Equal(t, "\xff\xfe", again["raw"])
	require.NotContains(t, again, wire.HeaderBase64+"raw")
}

func TestReadsWhatRabbitMQDropped(t *testing.T) {
	for name, c := range map[string]struct {
		d                              *amqp.Delivery
		consumer, queue, reason, topic string
		attempts                       int
	}{
		"expired": {d: rabbits("holdfast.q.billing", "expired", "holdfast.topics", "order.placed", nil),
			consumer: "billing", queue: "holdfast.q.billing", reason: "time to live", topic: "order.placed"},
		"full": {d: rabbits("holdfast.q.billing", "maxlen", "holdfast.topics", "order.placed", nil),
			consumer: "billing", queue: "holdfast.q.billing", reason: "the queue was full", topic: "order.placed"},
		"refused": {d: rabbits("holdfast.q.billing", "rejected", "", "order.placed", nil),
			consumer: "billing", queue: "holdfast.q.billing", reason: "refused it for good", topic: "order.placed"},
		"limit": {d: rabbits("holdfast.q.billing", "delivery_limit", "", "order.placed", nil),
			consumer: "billing", queue: "holdfast.q.billing", reason: "delivery-limit", topic: "order.placed"},
		"another reason": {d: rabbits("holdfast.q.billing", "new", "", "order.placed", nil),
			consumer: "billing", queue: "holdfast.q.billing", reason: `"new"`, topic: "order.placed"},
		"a foreign message": {d: rabbits("holdfast.q.billing", "expired", "shop", "their.topic", func(d *amqp.Delivery) { d.Headers = amqp.Table{} }),
			consumer: "billing", queue: "holdfast.q.billing", reason: "time to live", topic: "their.topic"},
		"from the half queue": {d: rabbits("holdfast.half.orders", "expired", "", "holdfast.half.orders", func(d *amqp.Delivery) { d.Headers = amqp.Table{wire.HeaderKind: wire.KindHalf} }),
			queue: "holdfast.half.orders", reason: "time to live", topic: "holdfast.half.orders"},
		"from elsewhere": {d: rabbits("shop.q.billing", "expired", "", "k", nil), queue: "shop.q.billing", reason: "shop.q.billing", topic: "order.placed"},
		"a suspect": {d: rabbits("holdfast.alone.billing", "expired", "holdfast.queues", "holdfast.alone.billing", func(d *amqp.Delivery) {
			d.Headers[wire.HeaderAttempts], d.Headers[wire.HeaderLost] = "1", "2"
		}), consumer: "billing", queue: "holdfast.q.billing", reason: "dropped it from holdfast.alone.billing", topic: "order.placed", attempts: 3},
		"a suspect's retry whose queue is gone": {d: rabbits("holdfast.retry.10s", "expired", "holdfast.retry.10s", "holdfast.alone.billing", func(d *amqp.Delivery) {
			d.Headers[wire.HeaderLost] = "3"
		}), consumer: "billing", queue: "holdfast.q.billing", reason: "the consumer's queue holdfast.alone.billing is gone", topic: "order.placed", attempts: 3},
		"a retry whose queue is gone": {d: rabbits("holdfast.retry.10s", "expired", "holdfast.retry.10s", "holdfast.q.billing", func(d *amqp.Delivery) {
			d.Headers = amqp.Table{wire.HeaderAttempts: "4", wire.HeaderReason: "no answer", wire.HeaderExchange: "shop", wire.HeaderRoutingKey: "their.topic", wire.HeaderConsumer: "billing"}
		}), consumer: "billing", queue: "holdfast.q.billing", reason: "the consumer's queue holdfast.q.billing is gone", topic: "their.topic", attempts: 4},
	} {
		t.Run(name, func(t *testing.T) {
			l := wire.Trust{Prefix: "holdfast"}.DecodeDead(c.d, time.Now())
			require.Equal(t, holdfast.ClassDropped, l.Failure.Class)
			require.Equal(t, c.consumer, l.Failure.Consumer)
			require.Equal(t, c.queue, l.Queue)
			require.Contains(t, l.Failure.Reason, c.reason)
			require.Equal(t, c.topic, l.Message.Topic)
			require.Equal(t, c.attempts, l.Failure.Attempts)
			require.Equal(t, deathTime, l.Failure.At)
			require.Equal(t, "tx-1", l.ID)
			for header := range l.Envelope.Headers {
				require.False(t, wire.OfDeath(header), header)
			}
		})
	}
	// RabbitMQ writes its own entry before the publisher's; of two of one millisecond,
	// that of the delay queue was before.
	d := rabbits("holdfast.q.first", "expired", "", "k", nil)
	d.Headers["x-death"] = append(d.Headers["x-death"].([]any), amqp.Table{"queue": "holdfast.q.last", "reason": "maxlen"})
	d.Headers["x-last-death-queue"], d.Headers["x-last-death-reason"] = "holdfast.q.last", "maxlen"
	require.Equal(t, "first", wire.Trust{Prefix: "holdfast"}.DecodeDead(d, time.Now()).Failure.Consumer)
	d.Headers["x-death"] = append([]any{amqp.Table{"queue": "holdfast.retry.10s", "reason": "expired", "exchange": "holdfast.retry.10s"}}, d.Headers["x-death"].([]any)...)
	require.Equal(t, "first", wire.Trust{Prefix: "holdfast"}.DecodeDead(d, time.Now()).Failure.Consumer)
	// The address of a retry is where it comes from by way of the exchange, too.
	d = rabbits("holdfast.retry.10s", "expired", "holdfast.retry.10s", "", nil)
	d.RoutingKey = "holdfast.q.billing"
	require.Equal(t, "billing", wire.Trust{Prefix: "holdfast"}.DecodeDead(d, time.Now()).Failure.Consumer)
}

func TestReadsAnythingElse(t *testing.T) {
	l := wire.Trust{Prefix: "holdfast"}.DecodeDead(placed(nil), deathTime)
	require.Equal(t, holdfast.ClassDropped, l.Failure.Class, "nobody says why")
	require.Equal(t, "holdfast.dead", l.Queue)
	require.Equal(t, "order.placed", l.Message.Topic)
	require.Equal(t, deathTime, l.Failure.At)

	l = wire.Trust{Prefix: "holdfast"}.DecodeDead(&amqp.Delivery{Body: []byte{0xff, 0}}, deathTime)
	require.Equal(t, holdfast.ClassMalformed, l.Failure.Class)
	require.Contains(t, l.Failure.Reason, "message-id")
	require.Equal(t, []byte{0xff, 0}, l.Message.Body, "the raw bytes")

	// A name that no consumer can have, a policy that nobody knows.
	l = wire.Trust{Prefix: "holdfast"}.DecodeDead(placed(func(d *amqp.Delivery) {
		d.Headers[wire.HeaderConsumer], d.Headers[wire.HeaderQueue], d.Headers[wire.HeaderErrorClass] = "a/b", "q\n", "exhausted"
		d.Headers[wire.HeaderPolicy], d.Headers[wire.HeaderGroup], d.Headers[wire.HeaderTopic] = `{"action":"sing"}`, "a/b", strings.Repeat("t", 3000)
		d.Timestamp = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)
		d.Exchange = "holdfast.dead"
	}), deathTime)
	require.Equal(t, holdfast.Failure{Class: holdfast.ClassError, At: deathTime, Reason: l.Failure.Reason}, l.Failure)
	require.Contains(t, l.Failure.Reason, "waits for an operator because")
	require.Equal(t, "q\uFFFD", l.Queue)
	require.Empty(t, l.Group+l.TxID)
	require.LessOrEqual(t, len(l.Message.Topic), wire.MaxText)
	require.Zero(t, l.Envelope.Timestamp)
}

func TestDeadLettersID(t *testing.T) {
	id := func(change func(d *amqp.Delivery)) string {
		return wire.Trust{Prefix: "holdfast"}.DecodeDead(placed(change), deathTime).ID
	}
	none := func(d *amqp.Delivery) { d.MessageId = "" }
	require.Equal(t, "tx-1", id(nil))
	require.Regexp(t, `^sha256-[0-9a-f]{32}$`, id(none))
	require.Equal(t, id(none), id(none), "copies collapse")
	require.NotEqual(t, id(none), id(func(d *amqp.Delivery) { none(d); d.Body = []byte("other") }))
	require.NotEqual(t, id(none), id(func(d *amqp.Delivery) { none(d); d.Headers["tenant"] = "south" }))
	require.Equal(t, id(none), id(func(d *amqp.Delivery) { none(d); d.Headers["x-delivery-count"] = int64(4) }))
	require.Equal(t, id(none), id(func(d *amqp.Delivery) { none(d); d.Headers[wire.HeaderAttempts] = "5" }))
	for _, bad := range []string{"a\x00b", "\xff", strings.Repeat("x", 256)} {
		l := wire.Trust{Prefix: "holdfast"}.DecodeDead(placed(func(d *amqp.Delivery) { d.MessageId = bad }), deathTime)
		require.Regexp(t, `^sha256-`, l.ID)
		h, ok := wire.Trust{Prefix: "holdfast"}.DecodeHandled(delivered(wire.EncodeHandled("holdfast.q.c", "c", l.Envelope.MessageID, "", 1)))
		require.True(t, ok)
		require.Equal(t, l.ID, h.MessageID, "the consumer's answer names the same")
	}
}

func TestReadsHandledRecords(t *testing.T) {
	h, ok := wire.Trust{Prefix: "holdfast"}.DecodeHandled(delivered(wire.EncodeHandled("holdfast.q.c", "c", "m", "", 7)))
	require.True(t, ok)
	require.Equal(t, &wire.HandledRecord{Consumer: "c", Queue: "holdfast.q.c", MessageID: "m", Redelivery: 7}, h)
	h, ok = wire.Trust{Prefix: "holdfast"}.DecodeHandled(delivered(wire.EncodeHandled("holdfast.half.g", "", "m", "", 7)))
	require.True(t, ok)
	require.Equal(t, &wire.HandledRecord{Queue: "holdfast.half.g", MessageID: "m", Redelivery: 7}, h)
	for name, p := range map[string]amqp.Publishing{
		"no number":   wire.EncodeHandled("holdfast.q.c", "c", "m", "", 0),
		"no ID":       wire.EncodeHandled("holdfast.q.c", "c", "", "", 1),
		"nobody's":    wire.EncodeHandled("elsewhere", "", "m", "", 1),
		"no consumer": wire.EncodeHandled("holdfast.q.c", "a/b", "m", "", 1),
	} {
		_, ok := wire.Trust{Prefix: "holdfast"}.DecodeHandled(delivered(p))
		require.False(t, ok, name)
	}
}

// A record that was put back says the same as before.
func TestRecordsSurviveBeingPutBack(t *testing.T) {
	ours := wire.EncodeDead(placed(func(d *amqp.Delivery) { d.Headers[wire.HeaderRedelivery] = "1" }), wire.DeathOf("holdfast.q.c", "c", 3, errors.New("no"), deathTime))
	ours.Headers[wire.HeaderPolicy] = `{"action":"compensate"}`
	ours.Headers[wire.HeaderLog] = `[{"n":1,"at":"2026-11-21T07:00:00Z","class":"error","error":"first"}]`
	for name, d := range map[string]*amqp.Delivery{
		"ours":       delivered(ours),
		"RabbitMQ's": rabbits("holdfast.q.c", "expired", "holdfast.topics", "order.placed", func(d *amqp.Delivery) { d.UserId = "guest" }),
		"no ID":      rabbits("holdfast.q.c", "expired", "holdfast.topics", "order.placed", func(d *amqp.Delivery) { d.MessageId = "" }),
		"foreign":    placed(nil),
		"malformed":  {Body: []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			l := wire.Trust{Prefix: "holdfast"}.DecodeDead(d, deathTime)
			again := wire.Again(d)
			for k, v := range wire.HeadersOfDeath(&l) {
				again.Headers[k] = v
			}
			require.NotContains(t, again.Headers, "x-death")
			require.Equal(t, l, wire.Trust{Prefix: "holdfast"}.DecodeDead(delivered(again), time.Now()))
		})
	}
}

func TestOversized(t *testing.T) {
	sized := func(body int, header int) *holdfast.DeadLetter {
		l := wire.Trust{Prefix: "holdfast"}.DecodeDead(placed(func(d *amqp.Delivery) {
			d.Body = []byte(strings.Repeat("\x00", body))
			d.Headers["h"] = strings.Repeat("\x01", header)
		}), deathTime)
		return &l
	}
	require.False(t, wire.Oversized(sized(holdfast.MaxBody, 0), holdfast.MaxBody))
	require.False(t, wire.Oversized(sized(holdfast.MaxBody, 10<<10), holdfast.MaxBody))
	require.True(t, wire.Oversized(sized(holdfast.MaxBody+1, 0), holdfast.MaxBody))
	require.True(t, wire.Oversized(sized(holdfast.MaxBody, 90<<10), holdfast.MaxBody), "the headers")
	require.False(t, wire.Oversized(sized(100, 90<<10), holdfast.MaxBody))
	for _, l := range []*holdfast.DeadLetter{sized(holdfast.MaxBody, 10<<10), sized(100, 90<<10)} {
		text, err := json.Marshal(l)
		require.NoError(t, err)
		require.LessOrEqual(t, len(text), wire.MaxLetter)
	}
	require.Equal(t, "ab", string(wire.FirstBytes([]byte("abä"), 3)), "whole characters")
	require.Len(t, wire.FirstBytes([]byte{0xff, 0xff, 0xff, 0xff}, 3), 3)
}

func FuzzReadDeadLetter(f *testing.F) {
	f.Add([]byte("body"), "id", "holdfast-dead-at", "2026-11-21T08:00:00Z", "holdfast-queue", "holdfast.q.c", "key", int64(0), uint8(0))
	f.Add([]byte{0xff}, "\x00", "x-death", "holdfast.retry.1s", "holdfast-attempt-log", `[{"n":1,"at":"9999-12-31T23:59:59-05:00"}]`, "holdfast.q.c", int64(1)<<60, uint8(1))
	f.Add([]byte{}, "", "holdfast-kind", "handled", "holdfast-redelivery", "3", "", int64(-1)<<40, uint8(2))
	f.Add([]byte{}, "", "holdfast-letter", "\n", "holdfast-base64-x", "\xff", "", int64(7), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, id, name1, value1, name2, value2, key string, seconds int64, shape uint8) {
		headers := amqp.Table{name1: value1, name2: value2}
		switch shape % 5 {
		case 1:
			headers["x-death"] = []any{nil, amqp.Table{"queue": value1, "reason": value2, "routing-keys": []any{key, nil}, "time": time.Unix(seconds, 0)}}
		case 2:
			headers["x-death"] = amqp.Table{"queue": value1}
		case 3:
			headers[name1] = []any{value2, amqp.Table{value1: []byte(value2)}}
			headers["x-death"] = []any{value1}
		case 4:
			headers = nil
		}
		d := &amqp.Delivery{Headers: headers, MessageId: id, Body: body, RoutingKey: key, Timestamp: time.Unix(seconds, 0), ContentType: value1, Type: value2}
		l := wire.Trust{Prefix: "holdfast"}.DecodeDead(d, deathTime)
		for _, part := range []string{l.ID, l.Queue} {
			if part == "" || len(part) > 255 || !utf8.ValidString(part) || strings.ContainsFunc(part, unicode.IsControl) {
				t.Fatalf("%q cannot be a part of a workflow's ID", part)
			}
		}
		if l.Failure.Class == "" || l.Failure.Reason == "" {
			t.Fatalf("no class or no reason: %+v", l.Failure)
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var back holdfast.DeadLetter
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if string(back.Message.Body) != string(body) || back.ID != l.ID || back.Envelope.MessageID != l.Envelope.MessageID {
			t.Fatal("JSON changed it")
		}
		for k, v := range back.Envelope.Headers {
			if v != l.Envelope.Headers[k] {
				t.Fatalf("JSON changed the header %q", k)
			}
		}
		wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: l, N: 1})
		wire.EncodeNotice(&l)
		wire.Trust{Prefix: "holdfast"}.DecodeHandled(d)
		trust := wire.Trust{Prefix: "holdfast"}
		if m := trust.DecodeDead(delivered(wire.EncodeWhole(d, &l)), deathTime); l.Envelope.MessageID != "" && m.ID != l.ID {
			t.Fatalf("the whole message is %q, its dead letter %q", m.ID, l.ID)
		}
		b := delivered(wire.EncodeBeginning(d, &l, "kept", 3))
		if m := trust.DecodeDead(b, deathTime); m.ID != l.ID || m.Size != len(body) || m.Kept != "kept" {
			t.Fatalf("the record of the oversized %q reads as %q of %d bytes", l.ID, m.ID, m.Size)
		}
	})
}

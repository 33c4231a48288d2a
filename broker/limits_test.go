package broker

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/consumer"
	"github.com/holdfastmq/holdfast/broker/internal/deadletters"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestLimits(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		p    link.Publication
		want error
	}{
		"nothing":                {link.Publication{}, nil},
		"exchange":               {link.Publication{Exchange: long}, holdfast.ErrInvalid},
		"routing key":            {link.Publication{Key: long}, holdfast.ErrInvalid},
		"content-type":           {link.Publication{Msg: amqp.Publishing{ContentType: long}}, holdfast.ErrInvalid},
		"content-encoding":       {link.Publication{Msg: amqp.Publishing{ContentEncoding: long}}, holdfast.ErrInvalid},
		"correlation-id":         {link.Publication{Msg: amqp.Publishing{CorrelationId: long}}, holdfast.ErrInvalid},
		"reply-to":               {link.Publication{Msg: amqp.Publishing{ReplyTo: long}}, holdfast.ErrInvalid},
		"expiration":             {link.Publication{Msg: amqp.Publishing{Expiration: long}}, holdfast.ErrInvalid},
		"message-id":             {link.Publication{Msg: amqp.Publishing{MessageId: long}}, holdfast.ErrInvalid},
		"type":                   {link.Publication{Msg: amqp.Publishing{Type: long}}, holdfast.ErrInvalid},
		"user-id":                {link.Publication{Msg: amqp.Publishing{UserId: long}}, holdfast.ErrInvalid},
		"app-id":                 {link.Publication{Msg: amqp.Publishing{AppId: long}}, holdfast.ErrInvalid},
		"name of a header":       {link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{long: "v"}}}, holdfast.ErrInvalid},
		"name within a header":   {link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{"h": []any{amqp.Table{long: "v"}}}}}, holdfast.ErrInvalid},
		"value of no AMQP type":  {link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{"h": struct{}{}}}}, holdfast.ErrInvalid},
		"such a value in a list": {link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{"h": []any{1, uint64(2)}}}}, holdfast.ErrInvalid},
		"integer beyond 32 bits": {link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{"h": math.MaxInt}}}, holdfast.ErrInvalid},
		"all that may be": {link.Publication{Exchange: long[:255], Key: long[:255], Msg: amqp.Publishing{MessageId: long[:255], Headers: amqp.Table{long[:255]: "v", "a": nil, "b": true,
			"c": int8(1), "d": int16(1), "e": int32(1), "f": int64(1), "g": uint8(1), "h": uint16(1), "i": uint32(1), "j": float32(1), "k": 1.5, "l": []byte("x"),
			"m": amqp.Decimal{Value: 1}, "n": time.Now(), "o": []any{"x", 1, amqp.Table{"y": "z"}}}}}, nil},
		"headers of a frame": {link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{"h": strings.Repeat("x", 8192)}}}, holdfast.ErrTooLarge},
	} {
		err := checkOf(wire.Limits{FrameMax: 8192}, &c.p)
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, c.want, name)
		if c.want == holdfast.ErrInvalid && !strings.Contains(name, " ") {
			require.ErrorContains(t, err, name+" has 256 bytes, AMQP allows 255")
		}
	}
	big := link.Publication{Msg: amqp.Publishing{Headers: amqp.Table{"h": strings.Repeat("x", 1<<20)}}}
	require.NoError(t, checkOf(wire.Limits{}, &big), "a connection without a limit")
	for frame, room := range map[int]int{0: wire.MaxRetryHeaders, 8192: 6144, 65536: 61440, 1 << 20: wire.MaxRetryHeaders} {
		require.Equal(t, room, wire.Limits{FrameMax: frame}.Room(), "what RabbitMQ adds needs a place")
	}
}

// A record is measured to the byte: RabbitMQ takes the largest one that is let
// through, and the connection stays.
func TestLargestRecord(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.frameMax = 8192 })
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}))
	odd := amqp.Table{"nil": nil, "list": []any{"a", int64(1), amqp.Table{"k": []byte("v")}}, "time": time.Now(), "dec": amqp.Decimal{Scale: 1, Value: 15}, "f": 1.5, "b": false}
	p := link.Publication{Exchange: b.QueuesExchange(), Key: b.ConsumerQueue("c"), Mandatory: true, Msg: amqp.Publishing{MessageId: "m", CorrelationId: "a\xff", Headers: maps.Clone(odd)}}
	p.Msg.Headers["pad"] = ""
	size, err := wire.Measure(&p.Msg)
	require.NoError(t, err)
	p.Msg.Headers["pad"] = strings.Repeat("x", 8192-wire.FrameOverhead-size)
	require.NoError(t, b.c.Pub.One(ctx, &p, ""))
	p.Msg.Headers["pad"] = strings.Repeat("x", 8192-wire.FrameOverhead-size+1)
	require.ErrorIs(t, b.c.Pub.One(ctx, &p, ""), holdfast.ErrTooLarge)
	p.Msg.Headers["pad"], p.Msg.CorrelationId = "", strings.Repeat("x", wire.MaxShort+1)
	require.ErrorContains(t, b.c.Pub.One(ctx, &p, ""), "correlation-id")
	require.Equal(t, PublishStats{Refused: 2}, b.PublishStats(), "no connection is lost")
	require.Equal(t, 1, ready(t, b, b.ConsumerQueue("c")))
}

// What cannot be published once it is committed is refused before.
func TestFitsBeforeItIsCommitted(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.frameMax = 8192 })
	ctx := testContext(t)
	require.NoError(t, b.DeclareGroup(ctx, "g"))
	h := half("t", "g")
	h.Messages[0].Headers = map[string]string{"large": strings.Repeat("x", 12<<10)}
	err := b.PublishHalf(ctx, h)
	require.ErrorIs(t, err, holdfast.ErrTooLarge)
	require.ErrorContains(t, err, "frame_max is 8192")
	h.Messages[0].Headers["large"] = strings.Repeat("x", 7<<10)
	require.ErrorIs(t, b.PublishHalf(ctx, h), holdfast.ErrTooLarge, "RabbitMQ could not deliver it with what it adds")
	h.Messages[0].Headers["large"] = strings.Repeat("x", 5<<10)
	require.NoError(t, b.PublishHalf(ctx, h))
	require.Equal(t, PublishStats{}, b.PublishStats())

	wide := map[string]string{}
	for i := 0; len(wide)*4 < holdfast.MaxHeaders-4; i++ {
		wide["h"+strconv.FormatInt(int64(i), 36)] = ""
	}
	m := holdfast.Message{ID: "t", Topic: strings.Repeat("t", holdfast.MaxName), Key: strings.Repeat("k", holdfast.MaxName), Headers: wide}
	msg := wire.EncodeMessage(strings.Repeat("g", holdfast.MaxName), strings.Repeat("t", holdfast.MaxID), m)
	require.Less(t, wire.RecordSize(&msg), wire.Limits{FrameMax: wire.WideFrame}.Room(), "in a wide frame everything valid fits")
}

// What a record of ours says of its attempts is shortened before anything of the
// message is.
func TestSqueeze(t *testing.T) {
	var log []holdfast.Attempt
	for range 12 {
		log = wire.Logged(log, 1, holdfast.ClassError, strings.Repeat("e", wire.MaxLogError), time.Now())
	}
	for _, c := range []struct {
		theirs, room int
		logs         int
		cut          bool
	}{
		{1000, 1 << 17, 12, false}, {1000, 4000, 2, false}, {1000, 2000, 0, false}, {9000, 2000, 0, true},
	} {
		d := &amqp.Delivery{MessageId: "m", Exchange: "holdfast.topics", RoutingKey: "order.placed",
			Headers: amqp.Table{"small": "1", "large": strings.Repeat("x", c.theirs)}}
		msg := wire.EncodeDead(d, wire.Death{Failure: wire.Failure{Attempts: wire.Attempts{Failed: 12}, Log: log, Class: holdfast.ClassError, Reason: strings.Repeat("r", wire.MaxReason)}, Queue: "q", Consumer: "c", At: time.Now()})
		wire.Squeeze(&msg, c.room)
		require.LessOrEqual(t, wire.RecordSize(&msg), c.room)
		require.Len(t, wire.ReadLog(msg.Headers), c.logs)
		require.Equal(t, "1", msg.Headers["small"])
		require.Equal(t, c.cut, msg.Headers["large"] == nil)
		if c.cut {
			require.Contains(t, msg.Headers[wire.HeaderCut], "large")
		}
	}
	many := amqp.Table{wire.HeaderReason: strings.Repeat("r", wire.ShortReason), wire.HeaderUser + "x-death": strings.Repeat("x", 250)}
	for i := range 40 {
		many["h"+strconv.Itoa(i)] = "value"
	}
	msg := amqp.Publishing{Headers: many}
	wire.Squeeze(&msg, 800)
	require.LessOrEqual(t, wire.RecordSize(&msg), 800)
	require.NotNil(t, msg.Headers[wire.HeaderReason], "ours is not among those that are dropped")
	require.Nil(t, msg.Headers[wire.HeaderUser+"x-death"], "this one is theirs")
}

// What is longer than it was when it came, by what is said of it, is squeezed wherever it
// is published.
func TestSqueezedWhereverItGoes(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.frameMax = 8192 })
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}, "x"))
	m := messages("t", "x", 1)[0]
	m.Headers = map[string]string{"small": "1", "large": strings.Repeat("x", 12<<10)}
	l := holdfast.DeadLetter{ID: "t", TxID: "t", Group: "g", Message: m, Queue: b.ConsumerQueue("c"),
		Envelope: holdfast.Envelope{MessageID: "t", Exchange: b.TopicsExchange(), RoutingKey: "x", Headers: m.Headers}}
	require.NoError(t, b.Redeliver(ctx, wire.RedeliverRequest{Letter: l, N: 1}))
	require.NoError(t, b.PublishCompensated(ctx, l))
	d := amqp.Delivery{MessageId: "t", Headers: amqp.Table{"small": "1", "large": m.Headers["large"]}, Body: []byte("whole")}
	require.NoError(t, deadletters.KeepWhole(ctx, b.c, &d, &l, 10))
	for _, queue := range []string{b.ConsumerQueue("c"), b.OversizedQueue(), b.DeadQueue()} {
		d := take(t, b, queue)
		require.Equal(t, "1", d.Headers["small"], queue)
		require.Contains(t, d.Headers[wire.HeaderCut], "large", queue)
	}
	require.Equal(t, PublishStats{}, b.PublishStats())
}

// acked is what a delivery was answered with.
type acked struct{ ack, requeued bool }

func (a *acked) Ack(uint64, bool) error               { a.ack = true; return nil }
func (a *acked) Nack(_ uint64, _, requeue bool) error { a.requeued = requeue; return nil }
func (a *acked) Reject(_ uint64, requeue bool) error  { a.requeued = requeue; return nil }

// What cannot be published is not tried for ever: a retry that is refused for good is a
// dead letter, and one that is refused itself is stored without what is refused. What
// was not tried is given back.
func TestRetriesThatAreRefused(t *testing.T) {
	t.Parallel()
	b := open(t, stacktest.Shared(t).AMQPURL(), stacktest.Prefix(t), func(o *Options) { o.frameMax = 8192 })
	ctx := testContext(t)
	require.NoError(t, b.DeclareConsumer(ctx, "c", []string{"x"}))
	c := &consumer.Consumer{Host: consumer.Host{Client: b.c}, O: Subscription{Name: "c"}, Queue: b.ConsumerQueue("c"), Log: b.c.Log, Handlers: ctx, Schedule: consumer.NewSchedule(1, rungs(1))}
	frame := b.c.Publishing.FrameMax.Load()
	after := func(headers int, f func(w *consumer.Work)) acked {
		var answer acked
		f(&consumer.Work{Class: holdfast.ClassError, Reason: "oops", J: &consumer.Job{D: amqp.Delivery{Acknowledger: &answer, MessageId: "m", Exchange: b.TopicsExchange(), RoutingKey: "x", Body: []byte("body"),
			Headers: amqp.Table{"large": strings.Repeat("x", headers)}}}})
		return answer
	}
	died := func() (attempts, reason string, large any) {
		d := take(t, b, b.DeadQueue())
		require.Equal(t, []any{"m", "body"}, []any{d.MessageId, string(d.Body)})
		return wire.HeaderText(d.Headers[wire.HeaderAttempts]), wire.HeaderText(d.Headers[wire.HeaderReason]), d.Headers["large"]
	}
	// RabbitMQ would take it, but not deliver it.
	require.True(t, after(7<<10, func(w *consumer.Work) { c.Retry(w, consumer.Verdict{Do: consumer.DoTail}) }).ack)
	_, reason, _ := died()
	require.Contains(t, reason, "leave no room for those of a retry")
	require.True(t, after(7<<10, c.Rotate).requeued)
	require.True(t, after(7<<10, func(w *consumer.Work) { c.MoveBack(w.J.Delivery()) }).requeued)
	require.Zero(t, ready(t, b, b.ConsumerQueue("c")))

	// Only the connection that it is written to knows.
	b.c.Publishing.FrameMax.Store(1 << 20)
	require.True(t, after(12<<10, func(w *consumer.Work) { c.Retry(w, consumer.Verdict{Do: consumer.DoTail}) }).ack)
	_, reason, large := died()
	require.Contains(t, reason, "it cannot be put off")
	require.Contains(t, reason, "which are left out")
	require.Nil(t, large)
	require.True(t, after(12<<10, c.Hop).ack)
	_, reason, _ = died()
	require.Contains(t, reason, "it cannot be put off")
	b.c.Publishing.FrameMax.Store(frame)
	require.Zero(t, b.PublishStats().Lost)
}

// A redelivery is the message as it was, to the byte, and so no longer than it was.
func TestRedeliveryOfOddText(t *testing.T) {
	odd := strings.Repeat("a\xff", 127)
	d := &amqp.Delivery{MessageId: "m", RoutingKey: odd, Exchange: "holdfast.topics", CorrelationId: odd, ReplyTo: odd, Type: odd, AppId: odd, ContentType: odd, ContentEncoding: odd,
		Headers: amqp.Table{wire.HeaderBase64Name + "x": "n", wire.PropertyBase64 + "type": "p", wire.HeaderDeadAt: "2026-01-01T00:00:00Z", wire.HeaderQueue: "holdfast.q.payments", wire.HeaderConsumer: "payments", odd: odd, "plain": odd, odd[:9]: "v"}}
	trusted := *d
	trusted.Exchange, trusted.RoutingKey = "holdfast.dead", "holdfast.dead"
	trusted.Headers = maps.Clone(d.Headers)
	trusted.Headers[wire.HeaderRoutingKey], trusted.Headers[wire.HeaderExchange] = odd, "holdfast.topics"
	letter := reencoded(t, wire.Trust{Prefix: "holdfast"}.DecodeDead(&trusted, time.Now()))
	msg := wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: letter, N: 1})
	require.NoError(t, checkOf(wire.Limits{FrameMax: 131072}, &link.Publication{Msg: msg}))
	require.Equal(t, []string{odd, odd, odd, odd, odd, odd}, []string{msg.CorrelationId, msg.ReplyTo, msg.Type, msg.AppId, msg.ContentType, msg.ContentEncoding})
	require.Equal(t, []any{odd, odd, "v", odd}, []any{msg.Headers[odd], msg.Headers["plain"], msg.Headers[odd[:9]], msg.Headers[wire.HeaderRoutingKey]})
	require.Equal(t, []any{"n", "p"}, []any{msg.Headers[wire.HeaderBase64Name+"x"], msg.Headers[wire.PropertyBase64+"type"]}, "names that look like ours")

	letter.Group, letter.TxID = "g", "t"
	letter.Message.Headers = map[string]string{strings.Repeat("n", wire.MaxShort+1): "of an older version"}
	told := wire.EncodeNotice(&letter)
	require.NoError(t, checkOf(wire.Limits{FrameMax: 131072}, &link.Publication{Msg: told}))

	// As somebody else wrote it.
	long := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", wire.MaxShort+1)))
	letter.Envelope.Headers[wire.PropertyBase64+wire.ContentType], letter.Envelope.Headers[wire.PropertyBase64+"correlation-id"] = long, long
	require.NoError(t, checkOf(wire.Limits{FrameMax: 131072}, &link.Publication{Msg: wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: letter, N: 1})}))

	// As an older version stored it: its text has grown, and is cut.
	letter.Envelope = holdfast.Envelope{MessageID: "m", CorrelationID: wire.ValidUTF8(odd), Headers: map[string]string{wire.ValidUTF8(odd): "v"}}
	msg = wire.EncodeRedelivery("holdfast", &wire.RedeliverRequest{Letter: letter, N: 1})
	require.NoError(t, checkOf(wire.Limits{FrameMax: 131072}, &link.Publication{Msg: msg}))
}

// reencoded is a dead letter as a workflow's history gives it back.
func reencoded(t *testing.T, l holdfast.DeadLetter) (out holdfast.DeadLetter) {
	t.Helper()
	text, err := json.Marshal(l)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &out))
	return out
}

func checkOf(l wire.Limits, p *link.Publication) error {
	_, err := l.Check(p.Exchange, p.Key, &p.Msg)
	return err
}

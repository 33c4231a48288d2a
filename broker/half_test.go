package broker

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

func sampleHalf() holdfast.Half {
	return holdfast.Half{TxID: "0190-a", Group: "orders", At: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Messages: []holdfast.Message{
			{ID: "0190-a.1", Topic: "order.placed", Key: "O-1", ContentType: "application/json",
				Headers: map[string]string{"trace": "x"}, Body: []byte(`{"n":1}`)},
			{ID: "0190-a.2", Topic: "stock.reserve", Body: []byte{0, 1, 0xff}, AllowUnrouted: true},
		}}
}

func TestHalfThereAndBack(t *testing.T) {
	h := sampleHalf()
	p, err := wire.EncodeHalf(h)
	require.NoError(t, err)
	require.Equal(t, h.TxID, p.MessageId)
	got, err := wire.DecodeHalf(p.Headers, p.Body, "orders", holdfast.MaxBody)
	require.NoError(t, err)
	require.True(t, got.At.Equal(h.At))
	require.Equal(t, h.Messages, got.Messages)
	require.Equal(t, h.TxID, got.TxID)
	require.Equal(t, h.Group, got.Group)
}

// A saga's half record has a version of its own, and nothing else in it.
func TestHalfOfASagaThereAndBack(t *testing.T) {
	h := holdfast.Half{TxID: "0190-a", Group: "orders", Lane: holdfast.Express, Database: "db", Saga: &holdfast.SagaStart{
		Name: "order", Version: 3, Key: "Zürich/<1>", State: json.RawMessage(`{"n":12345678901234567890}`), Tokens: true}}
	p, err := wire.EncodeHalf(h)
	require.NoError(t, err)
	require.True(t, wire.IsSaga(p.Headers))
	got, err := wire.DecodeHalf(p.Headers, p.Body, "orders", 1000)
	require.NoError(t, err)
	got.At = h.At
	require.Equal(t, h, got)
	tx, err := wire.HeadOfHalf(p.Headers, len(p.Body), "orders", 1000)
	require.NoError(t, err)
	require.Equal(t, h.TxID, tx)
	var peeked wire.PeekedHalf
	peeked.Read(p.Body)
	require.Equal(t, []string{"saga/order"}, peeked.Topics)

	for body, says := range map[string]string{
		`{"v":2,"tx":"0190-a","group":"orders","messages":[{"topic":"a"}]}`:                                                                             "a saga in it: false",
		`{"v":1,"tx":"0190-a","group":"orders","messages":[{"topic":"a"}]}`:                                                                             "its header says 2",
		`{"v":2,"tx":"0190-a","group":"orders","saga":{"name":"a b","version":1,"key":"k","state":{}}}`:                                                 "saga's name",
		`{"v":2,"tx":"0190-a","group":"orders","saga":{"name":"a","version":0,"key":"k","state":{}}}`:                                                   "version 0",
		`{"v":2,"tx":"0190-a","group":"orders","saga":{"name":"a","version":1,"key":"","state":{}}}`:                                                    "key is empty",
		`{"v":2,"tx":"0190-a","group":"orders","saga":{"name":"a","version":1,"key":"k"}}`:                                                              "no JSON",
		`{"v":2,"tx":"0190-a","group":"orders","messages":[{"topic":"a"}],"saga":{"name":"a","version":1,"key":"k","state":{}}}`:                        "has messages",
		`{"v":2,"tx":"0190-a","group":"orders","saga":{"name":"a","version":1,"key":"k","state":"` + strings.Repeat("x", holdfast.MaxSagaState) + `"}}`: "the limit is",
	} {
		_, err := wire.DecodeHalf(p.Headers, []byte(body), "orders", 1000)
		require.ErrorIs(t, err, holdfast.ErrMalformed)
		require.ErrorContains(t, err, says)
	}
	message, err := wire.EncodeHalf(sampleHalf())
	require.NoError(t, err)
	require.False(t, wire.IsSaga(message.Headers))
	_, err = wire.DecodeHalf(message.Headers, []byte(`{"v":1,"tx":"0190-a","group":"orders","saga":{"name":"a","version":1,"key":"k","state":{}}}`), "orders", 1000)
	require.ErrorIs(t, err, holdfast.ErrMalformed, "nor under the version of a transaction's")
}

// What a producer may send, a Keeper must be able to read, or it would go to
// the dead letters instead of being checked back.
func TestLargestHalfIsReadable(t *testing.T) {
	for name, body := range map[string]byte{"binary": 0xff, "quotes": '"', "text": 'a', "escaped": '<'} {
		t.Run(name, func(t *testing.T) {
			h := holdfast.Half{TxID: strings.Repeat("t", holdfast.MaxID), Group: "g"}
			value := strings.Repeat("<", 4*holdfast.MaxHeaders/holdfast.MaxMessages-1)
			for range holdfast.MaxMessages {
				h.Messages = append(h.Messages, holdfast.Message{Topic: strings.Repeat("&", holdfast.MaxName), Key: strings.Repeat("<", holdfast.MaxName),
					ContentType: strings.Repeat(">", holdfast.MaxName), Headers: map[string]string{"h": value},
					Body: bytes.Repeat([]byte{body}, holdfast.MaxBody/holdfast.MaxMessages)})
			}
			require.NoError(t, holdfast.ValidateMessages(h.Messages, holdfast.MaxBody))
			p, err := wire.EncodeHalf(h)
			require.NoError(t, err)
			_, err = wire.DecodeHalf(p.Headers, p.Body, "g", holdfast.MaxBody)
			require.NoError(t, err)
		})
	}
}

func TestMalformedHalves(t *testing.T) {
	good, err := wire.EncodeHalf(sampleHalf())
	require.NoError(t, err)
	change := func(f func(r map[string]any)) []byte {
		var r map[string]any
		require.NoError(t, json.Unmarshal(good.Body, &r))
		f(r)
		body, err := json.Marshal(r)
		require.NoError(t, err)
		return body
	}
	many := make([]any, holdfast.MaxMessages+1)
	for i := range many {
		many[i] = map[string]any{"topic": "x"}
	}
	for name, c := range map[string]struct {
		headers amqp.Table
		body    []byte
		group   string
		says    string
	}{
		"no JSON":            {body: []byte("hello"), says: "half record"},
		"empty":              {body: []byte{}, says: "half record"},
		"other version":      {headers: amqp.Table{wire.HeaderVersion: "9", wire.HeaderTx: "0190-a", wire.HeaderGroup: "orders"}, says: "upgrade"},
		"other body version": {body: change(func(r map[string]any) { r["v"] = 2 }), says: `"v":2`},
		"no transaction":     {body: change(func(r map[string]any) { delete(r, "tx") }), says: "transaction"},
		"transaction differs from header": {body: change(func(r map[string]any) { r["tx"] = "other" }),
			says: `"other", its header says "0190-a"`},
		"group differs from header": {body: change(func(r map[string]any) { r["group"] = "other" }), says: `group "other"`},
		"wrong queue":               {group: "billing", says: `group "orders" in the half queue of "billing"`},
		"no messages":               {body: change(func(r map[string]any) { r["messages"] = []any{} }), says: "at least one message"},
		"too many messages":         {body: change(func(r map[string]any) { r["messages"] = many }), says: "65 messages"},
		"no topic":                  {body: change(func(r map[string]any) { r["messages"] = []any{map[string]any{}} }), says: "topic is empty"},
		"pattern as topic":          {body: change(func(r map[string]any) { r["messages"] = []any{map[string]any{"topic": "a.*"}} }), says: "topic"},
		"oversized body": {body: change(func(r map[string]any) {
			r["messages"] = []any{map[string]any{"topic": "a", "text": strings.Repeat("x", 2000)}}
		}), says: "2000 bytes"},
		"oversized record": {body: append(bytes.Clone(good.Body), bytes.Repeat([]byte(" "), 16<<20)...), says: "the limit is"},
	} {
		t.Run(name, func(t *testing.T) {
			headers, body, group := good.Headers, good.Body, "orders"
			if c.headers != nil {
				headers = c.headers
			}
			if c.body != nil {
				body = c.body
			}
			if c.group != "" {
				group = c.group
			}
			_, err := wire.DecodeHalf(headers, body, group, 1000)
			require.ErrorIs(t, err, holdfast.ErrMalformed)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestOpThereAndBack(t *testing.T) {
	p := wire.EncodeOp("orders", wire.OpRecord{Commit: []string{"a", "b"}, Rollback: []string{"c"}})
	require.JSONEq(t, `{"v":1,"commit":["a","b"],"rollback":["c"]}`, string(p.Body))
	txs, err := wire.DecodeOp(p.Headers, p.Body, "orders")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, txs)
	for name, body := range map[string]string{
		"no JSON": "x", "names nothing": `{"v":1}`, "other version": `{"v":3,"commit":["a"]}`, "empty ID": `{"v":1,"commit":[""]}`,
		"bad ID": `{"v":1,"rollback":["a b"]}`,
	} {
		_, err := wire.DecodeOp(p.Headers, []byte(body), "orders")
		require.ErrorIs(t, err, holdfast.ErrMalformed, name)
	}
	_, err = wire.DecodeOp(p.Headers, p.Body, "billing")
	require.ErrorIs(t, err, holdfast.ErrMalformed)
}

// asDelivered is what a consumer gets of a publishing.
func asDelivered(p amqp.Publishing, exchange, key string) amqp.Delivery {
	return amqp.Delivery{Headers: p.Headers, ContentType: p.ContentType, MessageId: p.MessageId, Body: p.Body, Exchange: exchange, RoutingKey: key}
}

func TestMessageThereAndBack(t *testing.T) {
	m := holdfast.Message{ID: "t.1", Topic: "order.placed", Key: "O-1", ContentType: "text/plain",
		Headers: map[string]string{"trace": "x"}, Body: []byte("hello")}
	brokers := []string{"CC", "BCC", "x-death", "x-delivery-count", "x-acquired-count", "x-first-death-queue", "x-last-death-reason"}
	for _, name := range brokers {
		m.Headers[name] = "mine"
	}
	p := wire.EncodeMessage("orders", "t", m)
	for _, name := range brokers {
		require.NotContains(t, p.Headers, name, "RabbitMQ would route by it, or write it")
	}
	d := asDelivered(p, "x", "order.placed")
	got, tx, group, err := wire.DecodeMessage(&d)
	require.NoError(t, err)
	require.Equal(t, m, got)
	require.Equal(t, "t", tx)
	require.Equal(t, "orders", group)
}

func TestForeignMessage(t *testing.T) {
	d := amqp.Delivery{MessageId: "m1", RoutingKey: "order.placed", Body: []byte("x"), Headers: amqp.Table{
		"int": int32(7), "long": int64(-8), "bytes": []byte("raw"), "bool": true, "float": 1.5, "nothing": nil,
		"time": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "decimal": amqp.Decimal{Scale: 2, Value: -5},
		"list": []any{"a", int32(1), []byte("b")}, "table": amqp.Table{"k": amqp.Table{"l": int64(2)}},
	}}
	m, tx, group, err := wire.DecodeMessage(&d)
	require.NoError(t, err)
	require.Empty(t, tx+group)
	require.Equal(t, "order.placed", m.Topic)
	require.Equal(t, map[string]string{"int": "7", "long": "-8", "bytes": "raw", "bool": "true", "float": "1.5", "nothing": "",
		"time": "2026-01-02T03:04:05Z", "decimal": "-0.05", "list": `["a",1,"b"]`, "table": `{"k":{"l":2}}`}, m.Headers)

	for id, good := range map[string]bool{"": false, "a\x00b": false, "a\xffb": false, "Zürich-1": true, "a\nb": true} {
		d.MessageId = id
		m, _, _, err = wire.DecodeMessage(&d)
		require.NoError(t, err)
		if err = wire.StorableID(m.ID); good {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, holdfast.ErrMalformed)
		require.ErrorContains(t, err, "message-id")
		require.ErrorContains(t, err, "HandleAtLeastOnce")
	}
}

func FuzzDecode(f *testing.F) {
	p, _ := wire.EncodeHalf(sampleHalf())
	f.Add(p.Body, "1", "0190-a", "orders")
	f.Add(wire.EncodeOp("orders", wire.OpRecord{Commit: []string{"a"}}).Body, "1", "a", "orders")
	f.Add([]byte(`{"v":1,"tx":"a","group":"orders","messages":[{"topic":"x","text":"a","base64":"YQ=="}]}`), "1", "a", "orders")
	f.Add([]byte(`{"v":1,"commit":[null,"\u0000"]}`), "", "", "")
	f.Fuzz(func(t *testing.T, body []byte, v, tx, group string) {
		headers := amqp.Table{wire.HeaderVersion: v, wire.HeaderTx: tx, wire.HeaderGroup: []byte(group), "CC": []any{v}}
		h, err := wire.DecodeHalf(headers, body, "orders", 1<<16)
		if err != nil {
			require.ErrorIs(t, err, holdfast.ErrMalformed)
		} else {
			again, err := wire.EncodeHalf(h)
			require.NoError(t, err)
			same, err := wire.DecodeHalf(again.Headers, again.Body, "orders", 1<<16)
			require.NoError(t, err, "what was read once must be readable again")
			require.Equal(t, len(h.Messages), len(same.Messages))
			for i := range h.Messages {
				require.True(t, h.Messages[i].Equal(same.Messages[i]) || len(h.Messages[i].Headers)+len(same.Messages[i].Headers) == 0)
			}
		}
		if _, err := wire.DecodeOp(headers, body, "orders"); err != nil {
			require.ErrorIs(t, err, holdfast.ErrMalformed)
		}
		d := amqp.Delivery{Headers: headers, Body: body, MessageId: tx, RoutingKey: group}
		if _, _, _, err := wire.DecodeMessage(&d); err != nil {
			require.ErrorIs(t, err, holdfast.ErrMalformed)
		}
		dead := wire.EncodeDead(&d, wire.DeathOf("q", "c", 1, wire.Malformed("%s", v), time.Now()))
		require.NoError(t, dead.Headers.Validate())
		require.NotContains(t, dead.Headers, "CC")
	})
}

func TestDeadLetterRecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	d := amqp.Delivery{MessageId: "m", Body: []byte("b"), ContentType: "text/plain", Exchange: "holdfast.topics", RoutingKey: "order.placed",
		CorrelationId: "c", ReplyTo: "r", Type: "t", AppId: "a", Expiration: "1000", UserId: "guest", Priority: 3,
		Headers: amqp.Table{"n": int32(1), wire.HeaderTx: "tx", "CC": []any{"elsewhere"}}}
	p := wire.EncodeDead(&d, wire.DeathOf("holdfast.q.bill", "bill", 3, holdfast.Permanent(errorText(strings.Repeat("é", 3000))), at))
	require.Equal(t, "m", p.MessageId)
	require.Equal(t, d.Body, p.Body)
	require.Empty(t, p.Expiration, "it would expire in the queue of dead letters")
	require.Empty(t, p.UserId, "RabbitMQ would refuse another user's ID")
	require.Equal(t, "c r t a", strings.Join([]string{p.CorrelationId, p.ReplyTo, p.Type, p.AppId}, " "))
	reason := p.Headers[wire.HeaderReason].(string)
	require.LessOrEqual(t, len(reason), wire.MaxReason)
	delete(p.Headers, wire.HeaderReason)
	require.Equal(t, amqp.Table{"n": int32(1), wire.HeaderTx: "tx", "holdfast-header-CC": []any{"elsewhere"},
		wire.HeaderConsumer: "bill", wire.HeaderQueue: "holdfast.q.bill", wire.HeaderErrorClass: string(holdfast.ClassPermanent), wire.HeaderAttempts: "3",
		wire.HeaderDeadAt: "2026-01-02T03:04:05.000000006Z", wire.HeaderExchange: "holdfast.topics", wire.HeaderRoutingKey: "order.placed",
		wire.HeaderExpiration: "1000", wire.HeaderUserID: "guest"}, p.Headers)

	require.Equal(t, holdfast.ClassMalformed, wire.ErrorClass(wire.Malformed("x")))
	require.Equal(t, holdfast.ClassPanic, wire.ErrorClass(&holdfast.PanicError{Value: 1}))
	require.Equal(t, holdfast.ClassError, wire.ErrorClass(errorText("x")))
}

// Headers that leave no room in the frame would end the connection.
func TestDeadLetterHeadersFitTheFrame(t *testing.T) {
	d := amqp.Delivery{MessageId: "m", Headers: amqp.Table{"big": strings.Repeat("x", 110<<10), "small": "s", "big2": strings.Repeat("y", 15<<10)}}
	p := wire.EncodeDead(&d, wire.DeathOf("q", "c", 1, errorText("e"), time.Now()))
	require.NotContains(t, p.Headers, "big")
	require.Contains(t, p.Headers, "big2")
	require.Equal(t, "s", p.Headers["small"])
	require.Equal(t, "[big]", p.Headers[wire.HeaderCut])
}

type errorText string

func (e errorText) Error() string { return string(e) }

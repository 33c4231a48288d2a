package holdfast_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func withProperties() holdfast.Message {
	return holdfast.Message{Topic: "order.placed", Type: "order.v2", CorrelationID: "c-1", CausationID: "m-0", ContentEncoding: "gzip",
		ReplyTo: "answers", AppID: "shop", Priority: 7, TTL: 90 * time.Second, Body: []byte("x")}
}

func TestPropertiesInJSON(t *testing.T) {
	m := withProperties()
	text, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, `{"topic":"order.placed","text":"x","type":"order.v2","correlation_id":"c-1","causation_id":"m-0","content_encoding":"gzip",
		"reply_to":"answers","app_id":"shop","priority":7,"ttl_ms":90000}`, string(text))
	var back holdfast.Message
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, m, back)
	for name, ms := range map[string]string{"too long": "9223372036854775807", "negative": "-5"} { // of a stranger
		require.NoError(t, json.Unmarshal([]byte(`{"topic":"t","ttl_ms":`+ms+`}`), &back), name)
		require.ErrorIs(t, back.Validate(), holdfast.ErrInvalid, name)
	}
	require.Error(t, json.Unmarshal([]byte(`{"topic":"t","priority":256}`), &back))
}

func TestEqualComparesProperties(t *testing.T) {
	m := withProperties()
	require.True(t, m.Equal(withProperties()))
	for name, change := range map[string]func(*holdfast.Message){
		"Type": func(m *holdfast.Message) { m.Type = "" }, "CorrelationID": func(m *holdfast.Message) { m.CorrelationID = "" },
		"CausationID": func(m *holdfast.Message) { m.CausationID = "" }, "ContentEncoding": func(m *holdfast.Message) { m.ContentEncoding = "" },
		"ReplyTo": func(m *holdfast.Message) { m.ReplyTo = "" }, "AppID": func(m *holdfast.Message) { m.AppID = "" },
		"Priority": func(m *holdfast.Message) { m.Priority++ }, "TTL": func(m *holdfast.Message) { m.TTL += time.Millisecond },
	} {
		o := withProperties()
		change(&o)
		require.False(t, m.Equal(o), name)
	}
	m.TTL += time.Microsecond // which is not on the wire
	require.True(t, m.Equal(withProperties()))
}

func TestValidateProperties(t *testing.T) {
	require.NoError(t, withProperties().Validate())
	long := strings.Repeat("x", holdfast.MaxProperty+1)
	for text, change := range map[string]func(*holdfast.Message){
		"the type has 256 bytes, the limit is 255":  func(m *holdfast.Message) { m.Type = long },
		"the correlation ID has 256 bytes":          func(m *holdfast.Message) { m.CorrelationID = long },
		"the causation ID is not valid UTF-8":       func(m *holdfast.Message) { m.CausationID = "\xff" },
		"the content encoding \"a\\nb\" contains a": func(m *holdfast.Message) { m.ContentEncoding = "a\nb" },
		"the app ID has 256 bytes":                  func(m *holdfast.Message) { m.AppID = long },
		"direct reply-to ends with its channel":     func(m *holdfast.Message) { m.ReplyTo = "amq.rabbitmq.reply-to" },
		"TTL is -1s: want at least 1ms":             func(m *holdfast.Message) { m.TTL = -time.Second },
		"RabbitMQ counts in milliseconds":           func(m *holdfast.Message) { m.TTL = 999 * time.Microsecond },
		"the limit is 720h0m0s":                     func(m *holdfast.Message) { m.TTL = holdfast.MaxTTL + 1 },
	} {
		m := withProperties()
		change(&m)
		err := m.Validate()
		require.ErrorIs(t, err, holdfast.ErrInvalid, text)
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, "order.placed")
	}
	m := withProperties()
	m.TTL = holdfast.MaxTTL
	require.NoError(t, m.Validate())
	m.Headers = map[string]string{"x": strings.Repeat("y", holdfast.MaxHeaders-10)}
	require.ErrorIs(t, m.Validate(), holdfast.ErrTooLarge, "properties share the limit of the headers")
}

func TestCaused(t *testing.T) {
	of := func(d holdfast.Delivery) [2]string {
		m := holdfast.Message{Topic: "t"}.Caused(d)
		require.NoError(t, m.Validate())
		return [2]string{m.CorrelationID, m.CausationID}
	}
	require.Equal(t, [2]string{"c", "m"}, of(holdfast.Delivery{CorrelationID: "c", TxID: "tx", MessageID: "m"}))
	require.Equal(t, [2]string{"tx", "tx.1"}, of(holdfast.Delivery{TxID: "tx", MessageID: "tx.1"}))
	require.Equal(t, [2]string{"saga/s", "m"}, of(holdfast.Delivery{Saga: "saga/s", MessageID: "m"}))
	require.Equal(t, [2]string{"m", "m"}, of(holdfast.Delivery{MessageID: "m"}), "of a foreign publisher")
	require.Equal(t, [2]string{"", ""}, of(holdfast.Delivery{CorrelationID: "\xff", MessageID: strings.Repeat("x", 300)}),
		"what a stranger chose must not make Send fail")
	m := withProperties().Caused(holdfast.Delivery{CorrelationID: "c", MessageID: "m"})
	require.True(t, m.Equal(withProperties()), "what was set stays")
}

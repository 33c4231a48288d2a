package transactions

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
)

func TestKeysAreBounded(t *testing.T) {
	var ms []holdfast.Message
	for i := range 64 {
		ms = append(ms, holdfast.Message{Key: strings.Repeat("k", 190) + string(rune('a'+i%26))})
	}
	keys := keysOf(append(ms, ms...))
	text, err := json.Marshal(keys)
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), maxKeys)
	require.Len(t, keys, 10)
}

func TestStartOptionsAreReadable(t *testing.T) {
	tx := activities.Tx{ID: "7", Form: activities.HandedOver, Why: "it was lost", Messages: []holdfast.Message{{Topic: "order.placed", Key: "A-1007"}}}
	o := StartOptions("holdfast", "orders", tx)
	require.Equal(t, "tx/orders/7", o.ID)
	require.Equal(t, "holdfast.orders", o.TaskQueue)
	require.Equal(t, "transaction: order.placed A-1007", o.StaticSummary)
	for _, want := range []string{"`7`", "`orders`", "handed-over", "order.placed", "A-1007", "it was lost"} {
		require.Contains(t, o.StaticDetails, want)
	}
	require.Equal(t, 2, o.TypedSearchAttributes.Size())
}

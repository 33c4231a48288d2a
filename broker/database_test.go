package broker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// The identity of a transaction's database goes with its half record and with the
// check-backs about it; records without one are as before.
func TestDatabaseOnTheWire(t *testing.T) {
	h := sampleHalf()
	bare, err := wire.EncodeHalf(h)
	require.NoError(t, err)
	require.NotContains(t, bare.Headers, "holdfast-database")
	require.NotContains(t, string(bare.Body), "database")
	h.Database = "5f0c6f0e"
	p, err := wire.EncodeHalf(h)
	require.NoError(t, err)
	require.Equal(t, "5f0c6f0e", p.Headers["holdfast-database"])
	got, err := wire.DecodeHalf(p.Headers, p.Body, h.Group, 1000)
	require.NoError(t, err)
	require.Equal(t, "5f0c6f0e", got.Database)
	h.Database = strings.Repeat("x", wire.MaxIdentity+1)
	p, err = wire.EncodeHalf(h)
	require.NoError(t, err)
	_, err = wire.DecodeHalf(p.Headers, p.Body, h.Group, 1000)
	require.ErrorIs(t, err, holdfast.ErrMalformed)

	txs := []wire.CheckTx{{ID: "a", Messages: messages("a", "order.placed", 1), Database: "5f0c6f0e"}, {ID: "b", Messages: messages("b", "order.placed", 1)}}
	var r struct{ Transactions []map[string]any }
	require.NoError(t, json.Unmarshal(wire.EncodeChecks("orders", txs)[0].Body, &r))
	require.Equal(t, "5f0c6f0e", r.Transactions[0]["database"])
	require.NotContains(t, r.Transactions[1], "database")
	out := make([]wire.CheckAnswer, 2)
	wire.DecodeChecks([]byte(`{"v":1,"answers":[{"tx":"a","resolution":"unknown","elsewhere":true,"error":"mine is another"},{"tx":"b","resolution":"unknown","error":"locked"}]}`), txs, 1000, out)
	require.ErrorIs(t, out[0].Err, wire.ErrUnreached, "it does not count as a check-back")
	require.ErrorContains(t, out[0].Err, "mine is another")
	require.NotErrorIs(t, out[1].Err, wire.ErrUnreached)
}

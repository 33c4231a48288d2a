package transactions

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func TestPropertiesAreShown(t *testing.T) {
	m := holdfast.Message{ID: "m", Topic: "order.placed", Type: "order.v2", CorrelationID: "c\x1b[2J", CausationID: "m-0", ContentEncoding: "gzip",
		ReplyTo: "answers", AppID: "shop", Priority: 7, TTL: 90 * time.Second}
	var out bytes.Buffer
	require.NoError(t, PrintMessages(&out, []MessageDetail{MessageBeginning(m, 0), MessageBeginning(holdfast.Message{ID: "plain", Topic: "t"}, 0)}))
	require.Contains(t, out.String(), "Properties of m\ntype order.v2, correlation c")
	require.Contains(t, out.String(), "caused by m-0, encoding gzip, reply to answers, application shop, priority 7, time to live 1m30s\n")
	require.NotContains(t, out.String(), "\x1b")
	require.NotContains(t, out.String(), "Properties of plain")
	text, err := json.Marshal(MessageBeginning(m, 0))
	require.NoError(t, err)
	require.Contains(t, string(text), `"priority":7,"ttl_ms":90000`)
}

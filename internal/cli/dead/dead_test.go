package dead

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

func TestTheCommandOfAGroup(t *testing.T) {
	d := deadFlags{consumer: "payments", Which: frame.Which{States: []string{"parked", "waits"}, Ages: frame.Ages{OlderThan: time.Hour}, Limit: 7}}
	require.Equal(t, `holdfast dead list --consumer payments --error 'can'\''t find order <n>' --state parked,waits --older-than 1h0m0s`,
		d.command(text.Suggester{}, "error", "can't find order <n>"))
	require.Equal(t, `holdfast dead list --consumer mails --state parked,waits --older-than 1h0m0s --prefix shop`, d.command(text.Suggester{Said: "shop"}, "consumer", "mails"))
	require.Equal(t, "holdfast dead list --topic order.placed", deadFlags{}.command(text.Suggester{}, "topic", "order.placed"))
	require.Equal(t, "holdfast dead list --class timeout", deadFlags{}.command(text.Suggester{}, "class", "timeout"))
	require.Empty(t, deadFlags{}.command(text.Suggester{}, "class", ""), "it would list all")
}

// TestEditsFitAPayload: Temporal refuses more than 2 MiB, and JSON makes six
// bytes of some.
func TestEditsFitAPayload(t *testing.T) {
	for name, tc := range map[string]struct {
		body []byte
		text bool
	}{
		"text":            {[]byte(`{"amount": 5}`), true},
		"the longest":     {bytes.Repeat([]byte("a"), holdfast.MaxBody), true},
		"no text":         {[]byte{0xff, 0xfe}, false},
		"escaped too far": {bytes.Repeat([]byte("<"), holdfast.MaxBody), false},
	} {
		var req deadflow.Request
		setBody(&req, tc.body)
		if tc.text {
			require.Equal(t, string(tc.body), req.Text, name)
			require.Empty(t, req.Base64, name)
		} else {
			require.Equal(t, tc.body, req.Base64, name)
			require.Empty(t, req.Text, name)
		}
		sent, err := json.Marshal(req)
		require.NoError(t, err)
		require.Less(t, len(sent), 2<<20, name)
	}
}

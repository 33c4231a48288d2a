package sagas

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// A value in clear is not given to a saga whose state is encrypted.
func TestValuesInClear(t *testing.T) {
	var s sagaflow.Status
	s.Core.Data = json.RawMessage(`{"a":"holdfast-sealed:1:1:AAAA"}`)
	_, no := wouldBeClear(s)
	require.False(t, no)
	s.Core.Data = json.RawMessage(`{"a":"holdfast-sealed:1:1:AAAA","holdfast-sealed":{"owner":"saga/g/pay/1"}}`)
	o, no := wouldBeClear(s)
	require.True(t, no)
	require.Equal(t, actions.Refused, o.Outcome)
	require.Contains(t, o.Remedy, "HOLDFAST_KEYRING")
}

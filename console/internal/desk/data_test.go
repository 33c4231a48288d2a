package desk

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestDataThatCannotBeRead is no data: neither what is encrypted, nor what is not there.
func TestDataThatCannotBeRead(t *testing.T) {
	t.Parallel()
	has := func() sagas.Detail {
		d := sagas.Detail{Status: &sagaflow.Status{}}
		d.Status.Core.Data = []byte(`{"amount":5}`)
		return d
	}
	data, err := dataOf(has())
	require.NoError(t, err)
	require.JSONEq(t, `{"amount":5}`, string(data))
	for what, change := range map[string]func(*sagas.Detail){
		"not known": func(d *sagas.Detail) { d.Status = nil },
		"encrypted": func(d *sagas.Detail) { d.Encrypted = "encrypted: no key" },
		"not there": func(d *sagas.Detail) { d.Status.Core.Data = nil },
	} {
		d := has()
		change(&d)
		data, err := dataOf(d)
		require.Error(t, err, what)
		require.Nil(t, data, what)
	}
}

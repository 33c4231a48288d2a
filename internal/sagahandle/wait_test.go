package sagahandle

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/saga/core"
)

type runningGate struct{ openGate }

func (runningGate) AwaitRunning(context.Context) error { return nil }

// TestAnEndThatIsAnothers: of two starts of a key with different states in one process, the caller of the one
// that is not over is not told of the other's end, whatever comes first.
func TestAnEndThatIsAnothers(t *testing.T) {
	l := sagaexpress.New(sagaexpress.Options{Most: 1, Database: func() string { return "" }})
	h := New(Options{Express: l, Gate: runningGate{}})
	plan := &core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local, NoUndo: true}}}
	r, _ := l.NewMember(plan, "x", holdfast.SagaStart{State: []byte(`{"price":2}`)}, func() {})
	end := h.ends.expect("x")
	end.run = r
	h.Completed("x", json.RawMessage(`{"price":1}`))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller has gone"))
	data, err := h.Wait(ctx, "x", end, false)
	require.ErrorIs(t, err, holdfast.ErrSagaPending)
	require.Empty(t, data)
}

package sagahandle

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/sagaexpress"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

type openGate struct{ Gate }

func (openGate) Over() <-chan struct{} { return nil }

// Who steers a saga does not wait here any more once its cohort is not known to run here.
func TestSteeringOfAForgoneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := sagaexpress.New(sagaexpress.Options{Most: 1, Database: func() string { return "" }})
		h := New(Options{Express: l, Gate: openGate{}})
		plan := &core.Plan{Name: "travel", Steps: []core.Step{{Name: "a", Kind: core.Local, NoUndo: true}}}
		r, first := l.NewMember(plan, "x", holdfast.SagaStart{State: []byte(`{}`)}, func() {})
		require.True(t, first)
		done := make(chan bool)
		go func() { done <- h.takeOut(t.Context(), "x", sagas.UpdatePause, sagas.Request{}) }()
		synctest.Wait() // it waits for the saga
		l.Forgo([]*sagaexpress.Run{r})
		require.False(t, <-done)
	})
}

package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestSagaLanesFinding(t *testing.T) {
	process := func(name string, express bool) broker.ProcessStatus {
		return broker.ProcessStatus{Instance: name, Sagas: []broker.SagaDefinition{
			{Group: "orders", Name: "order", Version: 1, Express: express}, {Group: "orders", Name: "same", Express: true}}}
	}
	f := Findings{part: "P"}
	f.sagaLanes([]broker.ProcessStatus{process("a", true), process("b", true), {Instance: "none"}})
	require.Empty(t, f.All)
	f.sagaLanes([]broker.ProcessStatus{process("a", true), process("b", false), process("c", true)})
	require.Len(t, f.All, 1)
	require.Equal(t, text.LevelProblem, f.All[0].Level)
	require.Contains(t, f.All[0].Detail, "saga orders/order has different lanes: Express in a, c; Traced in b")
	require.Contains(t, f.All[0].Remedy, "same Saga.Lane")
	cohort := process("d", false)
	cohort.Sagas[0].Plan = []byte(`{"name":"order","cohort":true}`)
	f = Findings{part: "P"}
	f.sagaLanes([]broker.ProcessStatus{process("b", false), cohort})
	require.Equal(t, text.LevelWarning, f.All[0].Level)
	require.Contains(t, f.All[0].Detail, "Traced in b; Traced, in cohorts in d")

	// Where a begin row alone tells of a used key, each version has to take one.
	cohort.Sagas[0].TrustsRows = true
	cohort.Sagas = append(cohort.Sagas, cohort.Sagas[0])
	f = Findings{part: "P"}
	alone := process("e", false)
	alone.Sagas[0].Name, alone.Sagas[0].TrustsRows = "approval", true // each has a workflow of its own
	f.sagaLanes([]broker.ProcessStatus{cohort, cohort, alone})
	require.Empty(t, f.All)
	f.sagaLanes([]broker.ProcessStatus{process("b", false), cohort})
	require.Equal(t, text.LevelProblem, f.All[0].Level)
	require.Equal(t, "saga orders/order does not take a begin row everywhere: Traced in b; Traced, in cohorts in d; "+
		"with TrustBeginRows (in d), a key that was used may begin a second saga", f.All[0].Detail)
	require.Contains(t, f.All[0].Remedy, "unset Options.TrustBeginRows")
	later := cohort
	later.Sagas = append([]broker.SagaDefinition{{Group: "orders", Name: "order", Version: 2, TrustsRows: true}}, later.Sagas...)
	f = Findings{part: "P"}
	f.sagaLanes([]broker.ProcessStatus{later})
	require.Contains(t, f.All[0].Detail, "Traced in d; Traced, in cohorts in d; with TrustBeginRows (in d)", "two versions")
}

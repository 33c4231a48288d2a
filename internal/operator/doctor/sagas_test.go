package doctor

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
)

func TestSagaFindings(t *testing.T) {
	got := only(t, func(f *Findings) { f.openSagas(map[string]int{}) })
	require.Equal(t, "none is parked", got.Detail)
	got = only(t, func(f *Findings) { f.openSagas(map[string]int{core.StateWaiting: 2, core.StatePaused: 1}) })
	require.Equal(t, "none is parked; 1 paused, 2 waiting", got.Detail)
	got = only(t, func(f *Findings) { f.openSagas(map[string]int{core.StateParked: 1, core.StateCompensating: 3}) })
	require.Equal(t, text.LevelWarning, got.Level)
	require.Equal(t, "1 saga waiting for an operator; 3 compensating", got.Detail)
	var f Findings
	f.openSagas(map[string]int{core.StateCompensationFailed: 2})
	require.Equal(t, text.LevelProblem, f.All[0].Level)
	require.Contains(t, f.All[0].Remedy, "holdfast saga list --state compensation-failed")

	rows := []sagas.Row{{ID: "saga/g/pay/1", Group: "g", Name: "pay", Version: 3}, {ID: "saga/g/pay/2", Group: "g", Name: "pay", Version: 3}}
	running := []broker.SagaDefinition{{Group: "g", Name: "pay", Version: 5}, {Group: "g", Name: "pay", Version: 4}, {Group: "g", Name: "pay", Version: 4}, {Group: "h", Name: "pay", Version: 3}}
	got = only(t, func(f *Findings) { f.stranded(rows, running, nil) })
	require.Equal(t, "2 sagas waiting for a worker of group g with pay version 3; running processes have: 4, 5", got.Detail)
	require.Contains(t, got.Remedy, "start a process of group g that registers pay version 3")
	got = only(t, func(f *Findings) { f.stranded(rows[:1], nil, errors.New("away")) })
	require.Contains(t, got.Detail, "not known: away")
	got = only(t, func(f *Findings) { f.stranded(rows[:1], nil, nil) })
	require.Contains(t, got.Detail, "in any version")
}

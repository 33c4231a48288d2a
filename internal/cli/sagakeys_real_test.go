package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/saga/core"
)

// TestSagasOfOrdinaryKeys: an invoice's number may have a space and a slash. The saga is
// found by it, by its name and it, and by its workflow, in lists too, and is undone.
func TestSagasOfOrdinaryKeys(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	key := g.prefix + "-Rechnung 7/2026"
	id := g.begin("Rechnung 7/2026", `{}`, core.StateCompleted)
	require.Equal(t, g.prefix+":saga/orders/piece/=/"+g.prefix+"-Rechnung=207=2F2026", id)
	for _, name := range []string{id, key, "piece/" + key} {
		require.Equal(t, id, g.show(name).ID, name)
	}
	rows := g.list(1, "--key", key)
	require.Equal(t, []string{id, key}, []string{rows[0].ID, rows[0].Key})
	o, r := g.one("compensate", key)
	require.Equal(t, []any{id, frame.ExitOK}, []any{o.ID, r.status}, r.err)
	g.stands("piece/"+key, core.StateCompensated)

	// It may look like a saga's name and a key.
	both := g.begin("8", `{}`, core.StateCompleted)
	var got sagas.Started
	g.decode(&got, "start", "piece", "--key", "piece/"+g.prefix+"-8", "--data", "{}")
	g.stands(got.ID, core.StateCompleted)
	g.list(3)
	r = g.holdfast("show", "piece/"+g.prefix+"-8")
	require.Equal(t, frame.ExitError, r.status)
	require.Contains(t, r.err, both)
	require.Contains(t, r.err, got.ID)
}

// TestUnknownOutsideIsFound: an undone saga with a step of which nobody knows what it
// did outside its database. Only its result says so.
func TestUnknownOutsideIsFound(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	ts := &server.Temporal{Client: g.c, Namespace: stacktest.Shared(t).Namespace(), Data: server.SearchAttributes, Prefix: g.prefix}
	var well doctor.Findings
	well.UnknownSagas(t.Context(), ts, g.prefix, time.Now())
	require.Equal(t, text.LevelOK, well.All[0].Level)

	g.begin("well", `{}`, core.StateCompleted)
	g.set("do ship", holdfast.ClassPermanent, "no van")
	id := g.begin("1", `{}`, core.StateParked)
	g.mu.Lock()
	g.plays["undo pay"] = core.Outcome{Kind: core.OutcomeBlocked, Error: "no row"}
	g.mu.Unlock()
	_, r := g.one("compensate", id)
	require.Equal(t, frame.ExitOK, r.status, r.err)
	g.stands(id, core.StateCompensated)

	rows := g.list(1, "--unknown-outside")
	require.Equal(t, id, rows[0].ID)
	require.Equal(t, []string{"pay"}, rows[0].UnknownOutside)
	require.Contains(t, g.holdfast("list", "--unknown-outside").out, "compensated (unknown outside: pay)")
	g.list(0, "--unknown-outside", "--name", "other")

	var f doctor.Findings
	f.UnknownSagas(t.Context(), ts, g.prefix, time.Now())
	require.Equal(t, text.LevelWarning, f.All[0].Level)
	require.Contains(t, f.All[0].Detail, "1 saga with a step of which nobody knows what it did outside its database, in the last 24h; such as step pay of "+id)
	require.Contains(t, f.All[0].Remedy, "saga list --unknown-outside")
}

package conservation

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestConservation runs random sagas of several shapes, which move money and stock
// between four databases, with random failures, refusals, panics, lost replies and
// operators, while the processes that run them and their participants are killed.
// At the end every saga has completed or is compensated, nothing was lost or made,
// and the databases, the step rows and the sagas say the same.
//
// HOLDFAST_SEED repeats the choices of a run, HOLDFAST_SAGAS and HOLDFAST_KILLS
// change its size: make conservation has more of both.
func TestConservation(t *testing.T) {
	seed := uint64(number(t, "HOLDFAST_SEED", int(rand.Uint32())))
	sagas := number(t, "HOLDFAST_SAGAS", 400)
	kills := number(t, "HOLDFAST_KILLS", max(20, sagas/50))
	t.Logf("HOLDFAST_SEED=%d HOLDFAST_SAGAS=%d HOLDFAST_KILLS=%d go test -run TestConservation ./internal/conservation", seed, sagas, kills)

	maxCohort := 48 // those that are Traced share workflows
	if seed%2 == 1 {
		maxCohort = 1 // each has its own
	}
	w := newWorld(t, maxCohort)
	w.scenario = newScenario(seed, w.at.Prefix, sagas, kills)
	w.spawnAll()
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	thief, err := w.steal(ctx)
	require.NoError(t, err)
	defer thief.stop()
	defer cancel()
	go w.operate(ctx)
	go w.rage()
	if err := w.start(window); err != nil {
		t.Fatalf("%v\n%s", err, w.unfinished())
	}
	w.operators.Wait() // one may be undoing what has completed
	statuses := w.statuses()
	cancel()
	tally := w.tally()
	tally["replies lost"] = thief.stolen.Load()
	t.Logf("%d sagas in %v: %v", sagas, time.Since(began).Round(time.Second), tally)
	w.closeAll()
	w.audit(statuses)
	if t.Failed() {
		for _, s := range w.slots {
			t.Log(s.said())
		}
	}
}

// window is how many sagas run at a time.
const window = 64

// number is that of an environment variable.
func number(t *testing.T, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 32)
	require.NoError(t, err, name)
	return int(n)
}

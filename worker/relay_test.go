package worker_test

import (
	"testing"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

// relay passes TCP connections on, and cuts them when told to.
type relay struct{ r *stacktest.Relay }

func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	return &relay{stacktest.NewRelay(t, to)}
}

func (r *relay) address() string           { return r.r.Address() }
func (r *relay) through(raw string) string { return r.r.Through(raw) }
func (r *relay) cut() int                  { return r.r.Cut() }
func (r *relay) refuse(on bool)            { r.r.Refuse(on) }
func (r *relay) refusals() int             { return r.r.Refusals() }

func hostOf(t testing.TB, raw string) string {
	t.Helper()
	return stacktest.HostOf(t, raw)
}

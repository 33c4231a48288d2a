package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

const (
	// each is how many processes of a kind run.
	each = 2
	// some is how many orders a process has made before it is killed.
	some = 100
	// hanging is how many callers of a process are in their local transactions when it is killed.
	hanging = 8
	// victims is how many processes are killed in each round.
	victims = 2
)

// TestRollingUpgrade is a rolling upgrade with the program of an older version, built from
// the commit that HOLDFAST_OLD_VERSION names. In each phase, processes are killed while they
// send; what they leave undecided is handed over by a Keeper of the other kind. At the end
// each order has its effect once, and there is no dead letter. Half messages share records
// where no old process runs, and nowhere else.
func TestRollingUpgrade(t *testing.T) {
	w := newWorld(t, programs(t), "send")
	w.migrate(older)
	w.join(older, each)
	w.openTap()
	w.send()
	w.round(older, older)
	w.endPhase("old ones only")

	w.migrate(newer)
	w.send()
	w.run(rolling, each)
	w.round(older, rolling)
	w.round(rolling, older)
	w.endPhase("old ones and new ones with RollingUpgrade")
	for _, ph := range w.phases {
		require.Empty(t, ph.shared, "%s: half messages that shared records", ph.name)
	}

	w.send()
	w.leave(older)
	w.run(newer, each)
	w.round(rolling, newer)
	w.round(newer, rolling)
	ph := w.endPhase("new ones with RollingUpgrade and without")
	require.Zero(t, ph.shared[source{rolling, holdfast.Express}]+ph.shared[source{older, holdfast.Express}],
		"half messages of others that shared records")
	require.NotZero(t, ph.shared[source{newer, holdfast.Express}], "half messages that shared records")

	w.send()
	w.leave(rolling)
	w.round(newer, newer)
	ph = w.endPhase("new ones only")
	require.NotZero(t, ph.shared[source{newer, holdfast.Express}], "half messages that shared records")

	w.leave(newer)
	w.audit()
}

// TestTheProgramCompiles: what only make upgrade-test runs keeps compiling.
func TestTheProgramCompiles(t *testing.T) {
	does(t, ".", "go", "build", "-o", filepath.Join(t.TempDir(), "program"), "./testdata/program")
}

// send has all callers make their calls again.
func (w *world) send() {
	for _, p := range w.running {
		p.tell(w.calls)
	}
}

// round kills processes of a kind while one of another keeps the half queue, and waits until
// that has handed over what they left. Where it loses the half queue meanwhile, since the
// machine is slow, the next victim takes the place of this one.
func (w *world) round(keeper, victim kind) {
	w.Helper()
	for n := 0; n < victims; {
		k, before := w.keepBy(keeper)
		var v *process
		for _, p := range w.running {
			if p.kind == victim && p != k {
				v = p
			}
		}
		w.orders(v, some)
		v.tell("hang")
		v.await("hanging", 1)
		w.kill(v)
		w.eventually("what "+v.name+" left is handed over by "+k.name, func() string {
			switch p, now := w.keeper(); {
			case p == nil:
				return "nobody keeps the half queue"
			case p != k:
				w.Logf("%s keeps the half queue in place of %s", p.name, k.name)
			case now < before+hanging:
				return fmt.Sprintf("%d of %d", now-before, hanging)
			default:
				n++
			}
			return ""
		})
	}
}

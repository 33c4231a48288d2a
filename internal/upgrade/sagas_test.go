package upgrade

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// someTrips is how many sagas of a process have ended before it is killed.
const someTrips = 40

// TestRollingUpgradeOfSagas is the same rolling upgrade with sagas, of both lanes. In each phase,
// processes are killed while steps of theirs are under way, and a process of the other kind
// starts their sagas again, by their keys, as a caller without an answer does. At the end each
// saga has ended in one way, however often it was started, and each step was done, and where it
// had to be undone, once.
func TestRollingUpgradeOfSagas(t *testing.T) {
	w := newWorld(t, programs(t), "sagas")
	w.migrate(older)
	w.run(older, each)
	w.sagaRound(older, older)
	w.endSagas("old ones only")

	w.migrate(newer)
	w.send()
	w.run(rolling, each)
	w.sagaRound(older, rolling)
	w.sagaRound(rolling, older)
	w.endSagas("old ones and new ones with RollingUpgrade")

	w.send()
	w.leaveSagas(older, rolling)
	w.run(newer, each)
	w.sagaRound(rolling, newer)
	w.sagaRound(newer, rolling)
	w.endSagas("new ones with RollingUpgrade and without")

	w.send()
	w.leaveSagas(rolling, newer)
	w.sagaRound(newer, newer)
	w.endSagas("new ones only")

	for name, started := range w.started {
		if name != newer { // as an old caller comes back once the upgrade is over
			for n := 1; n <= started; n++ {
				w.again(newer, fmt.Sprintf("%s-%d", name, n))
			}
		}
	}
	w.rest()
	w.leave(newer)
	w.auditSagas()
}

// sagaRound kills processes of a kind in the midst of their sagas' steps, and has one of another
// start these sagas again.
func (w *world) sagaRound(helper, victim kind) {
	w.Helper()
	for range victims {
		v := w.aProcess(victim)
		w.trips(v, someTrips)
		v.tell("hang")
		v.await("hanging", 1)
		w.kill(v)
		w.again(helper, v.name)
	}
}

// aProcess is one of a kind that runs.
func (w *world) aProcess(k kind) *process {
	w.Helper()
	for _, p := range w.running {
		if p.kind == k {
			return p
		}
	}
	w.Fatalf("no process of kind %s runs", k)
	return nil
}

// again has a process of a kind start the sagas of a process again, which has ended.
func (w *world) again(helper kind, name string) {
	w.Helper()
	p := w.aProcess(helper)
	p.tell("again " + name)
	p.await("did again "+name, 1)
}

// leaveSagas ends the processes of a kind in the midst of their sagas; one of another kind starts
// these again.
func (w *world) leaveSagas(k, helper kind) {
	w.Helper()
	w.leaveAnd(k, func(p *process) { w.again(helper, p.name) })
}

// trips waits until so many sagas of a process have ended.
func (w *world) trips(p *process, n int) {
	w.Helper()
	w.eventually("sagas of "+p.name, func() string {
		var have int
		require.NoError(w, w.db.Raw("SELECT count(*) FROM trips WHERE sender = ? AND ended <> ''", p.name).Scan(&have).Error)
		if have >= n {
			return ""
		}
		return fmt.Sprintf("%d of %d", have, n)
	})
}

// endSagas waits until all is at rest, and says how many sagas there were so far.
func (w *world) endSagas(phase string) {
	w.Helper()
	w.rest()
	var ended []struct {
		Saga  int
		Ended string
		N     int
	}
	require.NoError(w, w.db.Raw("SELECT saga, ended, count(*) AS n FROM trips GROUP BY 1, 2 ORDER BY 1, 2").Scan(&ended).Error)
	w.Logf("%s: sagas so far %v; killed so far %v", phase, ended, w.kills)
}

// auditSagas looks at everything, once no process runs any more.
func (w *world) auditSagas() {
	w.atRest()
	for what, query := range map[string]string{
		"sagas of unknown end":         `SELECT key FROM trips WHERE ended = ''`,
		"sagas that ended in two ways": `SELECT key || ': ' || ended FROM trips WHERE ended LIKE '%completed%' AND ended LIKE '%compensated%'`,
		"sagas that ended in a way that was not asked": `SELECT key || ': ' || ended FROM trips
WHERE ended <> '' AND refused <> (ended LIKE '%compensated%')`,
		"effects more or less often than once": `SELECT t.key || ' of saga ' || t.saga || ' (' || t.ended || '): ' ||
  coalesce((SELECT string_agg(m.what, ', ' ORDER BY m.what) FROM marks m WHERE m.key = t.key), 'none')
FROM trips t WHERE coalesce((SELECT string_agg(m.what, ', ' ORDER BY m.what) FROM marks m WHERE m.key = t.key), '') <>
CASE WHEN t.refused AND t.saga IN (1, 3) THEN 'do meal, do pay, do seat, undo meal, undo pay, undo seat'
  WHEN t.refused THEN 'do meal, do seat, undo meal, undo seat'
  WHEN t.saga IN (1, 3) THEN 'do leave, do meal, do pay, do seat' ELSE 'do leave, do meal, do seat' END`,
	} {
		w.none(what, query)
	}
	require.NotZero(w, w.kills[older]+w.kills[rolling])
}

package doctor

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// sagaLanes finds sagas that have one lane in one process, and the other in another: two of
// them may drive the same saga then. Where they only differ in that workflows take the begin row
// in one, and not in the other, RollingUpgrade explains it, and does no harm.
func (f *Findings) sagaLanes(answers []broker.ProcessStatus) {
	sagas := map[string]map[string][]string{}
	trusting := map[string][]string{}
	for _, p := range answers {
		for _, d := range p.Sagas {
			name := cmp.Or(d.Group, "?") + "/" + d.Name
			if sagas[name] == nil {
				sagas[name] = map[string][]string{}
			}
			lane := laneOfSaga(d)
			sagas[name][lane] = append(sagas[name][lane], text.OrDash(p.Instance))
			if d.TrustsRows {
				trusting[name] = append(trusting[name], text.OrDash(p.Instance))
			}
		}
	}
	for _, name := range text.SortedKeys(sagas) {
		lanes := sagas[name]
		switch {
		case len(lanes) > 1 && trusting[name] != nil && lanes[laneAlone] != nil:
			f.add(text.LevelProblem, "lane of saga "+name, "unset Options.TrustBeginRows in all processes of the group, "+
				"until each version of the saga takes begin rows in all of them",
				"saga %s does not take a begin row everywhere: %s; with TrustBeginRows (in %s), "+
					"a key that was used may begin a second saga",
				name, whoHas(lanes), text.Few(slices.Compact(trusting[name])))
		case len(lanes) > 1 && lanes[laneExpress] != nil:
			f.add(text.LevelProblem, "lane of saga "+name, "give all processes of the group the same Saga.Lane, "+
				"Options.Lanes and RollingUpgrade; start no key in two of them until then",
				"saga %s has different lanes: %s; two processes may drive a saga of the same key, and come to different ends",
				name, whoHas(lanes))
		case len(lanes) > 1:
			f.add(text.LevelWarning, "lane of saga "+name, "end the rolling upgrade; where none is under way, "+
				"give all processes of the group a database (Options.DB) and the same Tuning.MaxSagaCohort",
				"saga %s may share workflows in some processes only: %s; without RollingUpgrade, two of them may drive a saga of "+
					"the same key", name, whoHas(lanes))
		}
	}
}

const (
	laneExpress = "Express"
	laneAlone   = "Traced" // no begin row
)

// laneOfSaga is a saga's lane, and whether it shares workflows there.
func laneOfSaga(d broker.SagaDefinition) string {
	var plan struct{ Cohort bool }
	switch {
	case d.Express:
		return laneExpress
	case json.Unmarshal(d.Plan, &plan) == nil && plan.Cohort:
		return "Traced, in cohorts"
	}
	return laneAlone
}

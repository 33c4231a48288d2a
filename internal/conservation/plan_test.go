package conservation

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/saga/core"
)

// scenario is all that is random, made of a seed. Instants are counted in sagas
// that have ended.
type scenario struct {
	sagas []*plannedSaga
	kills []kill
}

// plannedSaga is a saga, and what is to happen to it beside its troubles.
type plannedSaga struct {
	site   string // the prefix
	N      int
	Shape  int
	Name   string
	Order  order
	leaves []leaf
	// compensate, pause: by an operator, as soon as it is started. undo: when it has
	// completed.
	compensate, pause, undo bool
	// lost are the replies to lose, by step and op.
	lost map[string]bool
	// fated says that something may keep it from completing.
	fated bool
}

// kill is the end of a process.
type kill struct {
	after int    // so many sagas have ended
	child int    // of all
	point string // where it dies; empty: wherever it is
	hit   int    // the how manieth time it comes there
}

var orchestratorPoints = []string{fault.SagaDoBefore, fault.SagaDoAfterCommit, fault.SagaUndoBefore, fault.SagaUndoAfterCommit,
	fault.SagaCallBeforeConfirm, fault.SagaCallAfterConfirm, fault.SagaReplyTaken, insideStep}

var participantPoints = []string{fault.ConsumeBefore, fault.SagaDoAfterCommit, fault.SagaUndoAfterCommit,
	fault.SagaReplyBeforeConfirm, fault.SagaReplyBeforeAck, insideStep}

// orchestrators is how many processes run the sagas; each participant has one.
const orchestrators = 2

// newScenario makes n sagas and the given number of kills. site makes the sagas'
// keys their own.
func newScenario(seed uint64, site string, n, kills int) *scenario {
	s := &scenario{}
	var plans []core.Plan
	for _, def := range shapes(nil) {
		c, err := def.Compile()
		if err != nil {
			panic(err)
		}
		plans = append(plans, c.Plan)
	}
	for i := range n {
		// Each has its own source: so one saga can be told of a seed and its number.
		p := newSaga(rand.New(rand.NewPCG(seed, uint64(i))), plans, i, fmt.Sprintf("%s-%d", site, i))
		p.site = site
		s.sagas = append(s.sagas, p)
	}
	rnd := rand.New(rand.NewPCG(seed, 1<<63))
	for i := range kills {
		k := kill{after: (i + 1) * n * 4 / 5 / (kills + 1), child: rnd.IntN(orchestrators + len(participants)), hit: 1 + rnd.IntN(5)}
		points := orchestratorPoints
		if k.child >= orchestrators {
			points = participantPoints
		}
		if rnd.IntN(2) == 0 {
			k.point = points[rnd.IntN(len(points))]
		}
		s.kills = append(s.kills, k)
	}
	return s
}

// weights say how many of the sagas have which shape, in percent.
var weights = []int{21, 16, 11, 14, 9, 9, 8, 12}

func weighted(rnd *rand.Rand) (shape int) {
	for n := rnd.IntN(100); n >= weights[shape]; shape++ {
		n -= weights[shape]
	}
	return shape
}

func newSaga(rnd *rand.Rand, plans []core.Plan, n int, id string) *plannedSaga {
	chance := func(percent int) bool { return rnd.IntN(100) < percent }
	s := &plannedSaga{N: n, Shape: weighted(rnd), lost: map[string]bool{}}
	plan := plans[s.Shape]
	s.Name = plan.Name
	s.Order = order{ID: id, Case: []string{"bank", "stock", "neither"}[rnd.IntN(3)], Extra: chance(50), Moves: map[string]move{}}
	// Steps that it must not come to have moves, too: they would be seen.
	plan.Each(func(x *core.Step, _ int) { s.Order.Moves[x.Name] = move{Account: account("money", 0), Units: 1} })
	s.leaves = leaves(plan.Steps, s.Order, false)
	s.move(rnd)

	if chance(25) {
		for range 1 + rnd.IntN(3) {
			s.troubled(pick(rnd, s.leaves), []trouble{fails, panics, slow}[rnd.IntN(3)])
		}
	}
	if chance(18) {
		l := pick(rnd, s.leaves)
		s.troubled(l, []trouble{refuses, permanent}[rnd.IntN(2)])
		s.fated = s.fated || l.OnFailure == core.Backward
	}
	for _, l := range s.leaves {
		if chance(15) {
			m := s.Order.Moves[l.Name]
			m.Undo = append(m.Undo, []trouble{fails, fails, panics, slow, permanent}[rnd.IntN(5)])
			s.Order.Moves[l.Name] = m
		}
		if l.Kind == core.Message && !l.inner && chance(3) {
			s.lost[l.Name+" do"], s.lost[l.Name+" undo"] = true, true
		}
	}
	switch r := rnd.IntN(100); {
	case r < 6:
		s.compensate = true
		s.fated = true
		s.troubled(pick(rnd, s.leaves), []trouble{fails, slow}[rnd.IntN(2)])
	case r < 10:
		s.pause = true
		s.troubled(pick(rnd, s.leaves), slow)
	case r < 14:
		s.undo = true
	}
	s.fated = s.fated || s.Name == "hasty" // it may run out of time
	return s
}

func pick(rnd *rand.Rand, from []leaf) leaf { return from[rnd.IntN(len(from))] }

func (s *plannedSaga) troubled(l leaf, t trouble) {
	m := s.Order.Moves[l.Name]
	m.Do = append(m.Do, t)
	s.Order.Moves[l.Name] = m
}

// move decides what the steps move. All together they move nothing.
func (s *plannedSaga) move(rnd *rand.Rand) {
	order := rnd.Perm(len(s.leaves))
	split := len(order)
	if split >= 4 {
		split = 2 + rnd.IntN(split-3)
	}
	for i, part := range [][]int{order[:split], order[split:]} {
		var sum int64
		for j, at := range part {
			units := int64(1 + rnd.IntN(100))
			if rnd.IntN(2) == 0 {
				units = -units
			}
			if j == len(part)-1 {
				units = -sum
			}
			sum += units
			s.Order.Moves[s.leaves[at].Name] = move{Account: account(kinds[i], rnd.IntN(accounts)), Units: units}
		}
	}
}

// leafNames are the names of the steps that move something, sorted.
func (s *plannedSaga) leafNames() (names []string) {
	for _, l := range s.leaves {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

package core_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga/core"
)

// HOLDFAST_SEED runs one seed of the random sagas and tells its story, HOLDFAST_SEEDS
// another number of them.
const (
	oneSeed   = "HOLDFAST_SEED"
	manySeeds = "HOLDFAST_SEEDS"
)

func worlds(t *testing.T, n uint64) iter.Seq[*world] {
	first, last := uint64(1), n
	var err error
	if s := os.Getenv(oneSeed); s != "" {
		first, err = strconv.ParseUint(s, 10, 64)
		last = first
	} else if s := os.Getenv(manySeeds); s != "" {
		last, err = strconv.ParseUint(s, 10, 64)
	}
	require.NoError(t, err)
	return func(yield func(*world) bool) {
		for seed := first; seed <= last && yield(newWorld(t, seed)); seed++ {
		}
	}
}

// TestRandomSagas runs random plans in a world that fails, refuses, loses answers,
// restarts and has an operator, until it gets kind.
func TestRandomSagas(t *testing.T) {
	ends := map[core.Phase]int{}
	for w := range worlds(t, 1000) {
		w.live()
		ends[w.m.State().Phase]++
		if w.rnd.IntN(2) == 0 && w.m.State().Phase == core.Completed {
			w.apply(core.Event{Kind: core.Undo, Operator: "ann", Reason: "after the end"})
			w.live()
			ends["undone"]++
		}
	}
	if os.Getenv(oneSeed) == "" {
		for _, end := range []core.Phase{core.Completed, core.Compensated, "undone"} {
			require.Greater(t, ends[end], 100, "%v", ends)
		}
	}
}

// TestRandomSagasTerminated has a saga end in the middle, with things done that its
// state does not know of, and undoes it from what the state knows.
func TestRandomSagasTerminated(t *testing.T) {
	for w := range worlds(t, 500) {
		w.some(w.rnd.IntN(20))
		if w.m.Ended() {
			continue
		}
		known := again(t, &w.plan, w.m)
		w.some(w.rnd.IntN(6)) // not recorded
		w.m, w.events, w.sleeping, w.firsts, w.terminated = known, nil, map[string]bool{}, nil, true
		clear(w.undid)
		w.plan.Each(func(s *core.Step, _ int) { w.undid[s.Name] = known.Step(s.Name).Status == core.Undone })
		w.m.Assume()
		if w.m.State().Phase == core.Backwards {
			w.take(w.m.Restart(w.now))
		} else {
			w.apply(core.Event{Kind: core.Undo, Operator: "ann", Reason: "terminated"})
		}
		w.kind = true
		w.live()
		require.Equal(t, core.Compensated, w.m.State().Phase, w.seed)
	}
}

// TestRandomSagasLost has steps done, and what comes after them, by runs of a
// workflow task that are lost: the saga goes on from what it knew before, and each
// of these steps finds its row, or comes to no answer.
func TestRandomSagasLost(t *testing.T) {
	for w := range worlds(t, 1000) {
		for range 1 + w.rnd.IntN(3) {
			w.some(w.rnd.IntN(8))
			w.lose()
		}
		w.live()
	}
}

// world is what surrounds a machine: step rows that remember, events that are to
// come, and what was seen.
type world struct {
	t    *testing.T
	seed string
	rnd  *rand.Rand
	plan core.Plan
	m    *core.Machine
	now  time.Time
	// kind: nothing fails any more, and the operator sees to what waits.
	kind bool
	// effect is a step's row: done, refused or blocked.
	effect map[string]string
	events []core.Event
	// stopped are steps whose Do is to end, sleeping those that pause.
	stopped, sleeping map[string]bool
	// firsts are the steps in the order of their first Undo; undid those whose Undo
	// ended well; skipped those that an operator skipped, and unUndone those whose
	// Undo one skipped.
	firsts                   []string
	undid, skipped, unUndone map[string]bool
	terminated               bool
	// given is what each step's Do was given first, took what its Undo needs, where
	// the saga learned of it.
	given, took map[string]string
	// lost says that steps were done that the saga does not know of.
	lost bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: fmt.Sprintf("seed %d", seed), rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(0, 0).UTC(),
		effect: map[string]string{}, stopped: map[string]bool{}, sleeping: map[string]bool{}, undid: map[string]bool{}, skipped: map[string]bool{}, unUndone: map[string]bool{}, given: map[string]string{}, took: map[string]string{}}
	g := &generator{rnd: w.rnd}
	plan, err := core.Plan{Name: "random", Steps: g.steps(0, 1+w.rnd.IntN(5))}.Complete()
	require.NoError(t, err, w.seed)
	w.plan = plan
	w.m = core.New(&w.plan, json.RawMessage(`{"amount":100}`))
	w.log("%s", core.Mermaid(plan))
	w.take(w.m.Begin(w.now))
	return w
}

func (w *world) log(format string, args ...any) {
	if os.Getenv(oneSeed) != "" {
		w.t.Logf(format, args...)
	}
}

// live goes on until the saga has ended, kindly after a while.
func (w *world) live() {
	w.some(60)
	w.kind = true
	for range 2000 {
		if w.m.Ended() {
			w.ended()
			return
		}
		w.step()
	}
	w.t.Fatalf("%s: it does not end: %s\n%s", w.seed, w.m.Standing(), w.text())
}

func (w *world) some(n int) {
	for range n {
		if !w.m.Ended() {
			w.step()
		}
	}
}

// step lets one thing happen.
func (w *world) step() {
	if !w.kind && w.quiet() {
		switch w.rnd.IntN(40) {
		case 0:
			w.operator(core.Pause, "")
		case 1, 2:
			w.operator(core.Continue, "")
		case 3:
			w.operator(core.RetryNow, "")
		case 4:
			w.operator(core.RetryNow, w.anyStep())
		case 5:
			w.operator(core.Skip, w.anyStep())
		case 6:
			if w.rnd.IntN(4) == 0 {
				w.operator(core.Undo, "")
			}
		case 7:
			w.restart()
		case 8:
			w.apply(core.Event{Kind: core.Stranded, Step: w.anyStep(), Found: w.rnd.IntN(2) == 0})
		}
	}
	if len(w.events) == 0 {
		if w.kind { // whatever waits now waits for an operator
			before := w.text()
			w.operator(core.Continue, "")
			if name, at := w.m.Troubled(); (at.Status == core.Refused || at.Status == core.Failed) && w.m.State().Phase == core.Forwards && w.rnd.IntN(3) == 0 {
				w.operator(core.Skip, name) // it might refuse for ever
			} else {
				w.operator(core.RetryNow, "")
			}
			require.NotEqual(w.t, before, w.text(), "%s: it waits for nobody", w.seed)
		}
		return
	}
	i := w.rnd.IntN(len(w.events))
	e := w.events[i]
	w.events = slices.Delete(w.events, i, i+1)
	switch e.Kind {
	case core.Slept:
		delete(w.sleeping, e.Step)
		if next := w.m.Step(e.Step).Next; next.After(w.now) {
			w.now = next
		}
	case core.DoEnded:
		e.Outcome = w.do(e.Step, e.Found)
		delete(w.stopped, e.Step)
	case core.UndoEnded:
		e.Outcome = w.undo(e.Step)
	}
	if e.Kind == core.DoEnded {
		switch e.Outcome.Kind {
		case core.OutcomeFailed, core.OutcomeStopped:
			w.m.Unsure(e.Step)
		case core.OutcomeDone, core.OutcomeSkipped:
			if w.m.State().Phase == core.Backwards {
				w.m.Unsure(e.Step)
			}
		}
	}
	w.wants(e)
	last := e.Kind == core.DoEnded && e.Outcome.Kind == core.OutcomeDone && w.m.Last(e.Step)
	choice := e.Kind == core.DoEnded && w.plan.Find(e.Step).Kind == core.Choice
	w.apply(e)
	if e.Kind == core.DoEnded && e.Outcome.Kind == core.OutcomeDone && !choice {
		require.Equal(w.t, w.m.State().Phase == core.Completed, last, "%s: Last of %s", w.seed, e.Step)
	}
}

// wants notes what an Undo is to be given: what the step's Do was given, with what
// that changed.
func (w *world) wants(e core.Event) {
	if e.Kind != core.DoEnded || e.Outcome.Kind != core.OutcomeDone || w.plan.Find(e.Step).Kind == core.Local {
		return
	}
	want, err := core.Merge(w.m.Given(e.Step), e.Outcome.Patch)
	require.NoError(w.t, err)
	w.took[e.Step] = string(want)
}

// lose does some steps, one after the other, and has the saga forget them.
func (w *world) lose() {
	known, events, firsts := again(w.t, &w.plan, w.m), slices.Clone(w.events), slices.Clone(w.firsts)
	for range 1 + w.rnd.IntN(6) {
		i := slices.IndexFunc(w.events, func(e core.Event) bool { return e.Kind == core.DoEnded })
		if i < 0 || w.m.State().Phase != core.Forwards {
			break
		}
		e := w.events[i]
		s := w.plan.Find(e.Step)
		if s.Kind == core.Activity && !(s.Conditional && w.pure(e.Step)%4 == 0 && w.effect[e.Step] == "") {
			break // an activity is recorded, and what came before it
		}
		w.events = slices.Delete(w.events, i, i+1)
		kind := w.kind
		w.kind = true // what fails ends the run
		e.Outcome = w.do(e.Step, e.Found)
		w.kind = kind
		if e.Outcome.Kind != core.OutcomeDone && e.Outcome.Kind != core.OutcomeSkipped {
			break
		}
		w.apply(e)
	}
	w.m, w.events, w.firsts, w.lost = known, events, firsts, true
	w.log("lost: in truth %v", w.effect)
}

// quiet reports whether an operator is heard. Where steps were done by lost runs,
// nobody is before those that are begun again have ended, or wait for a reply.
func (w *world) quiet() bool {
	for _, e := range w.events {
		if !w.lost || e.Kind != core.DoEnded {
			continue
		}
		switch w.plan.Find(e.Step).Kind {
		case core.Local, core.Choice:
			return false
		case core.Wait:
			if w.effect[e.Step] != "" {
				return false // the answer is there
			}
		case core.Message:
			w.m.Unsure(e.Step)
		}
	}
	return true
}

// do is how a try ends, and what it leaves in the step's row.
func (w *world) do(step string, again bool) core.Outcome {
	s := w.plan.Find(step)
	if w.stopped[step] && (s.Kind == core.Message || s.Kind == core.Wait) && w.rnd.IntN(2) == 0 {
		w.maybe(step)
		return core.Outcome{Kind: core.OutcomeStopped}
	}
	if s.Kind == core.Choice {
		if !w.kind && w.rnd.IntN(10) == 0 {
			return core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPanic, Error: "pick"}
		}
		return core.Outcome{Kind: core.OutcomeDone, Case: []string{"x", "y", "z"}[w.pure(step)%3]}
	}
	n := w.rnd.IntN(20)
	if w.kind {
		n = 19
	}
	switch w.effect[step] {
	case "blocked":
		return core.Outcome{Kind: core.OutcomeBlocked, Error: "undone"}
	case "refused":
		if !again {
			return core.Outcome{Kind: core.OutcomeRefused, Error: "no"}
		}
	case "":
		if s.Conditional && w.pure(step)%4 == 0 {
			return core.Outcome{Kind: core.OutcomeSkipped}
		}
	}
	switch {
	case n < 4:
		w.maybe(step) // the answer was lost
		return core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassTimeout, Error: "down", Excused: n == 0}
	case n == 4:
		w.maybe(step)
		return core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "broken"}
	case n < 7 && w.effect[step] != "done":
		w.effect[step] = "refused"
		return core.Outcome{Kind: core.OutcomeRefused, Error: "no"}
	case s.Receives && w.pure(step)%8 == 0: // done, and then refused by what takes the result
		w.effect[step] = "done"
		return core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "not that"}
	}
	w.effect[step] = "done"
	patch := fmt.Sprintf(`{%q:true,"amount":%d}`, step, w.pure(step))
	if w.pure(step)%3 == 0 {
		patch = fmt.Sprintf(`{%q:{"of":%q},"last":%q}`, step, step, step)
	}
	return core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(patch)}
}

// pure is what a function of the state decides: the same each time.
func (w *world) pure(step string) int {
	n := len(w.seed)
	for _, b := range []byte(w.seed + step) {
		n = (n*31 + int(b)) % 9973
	}
	return n
}

// maybe does the step, and nobody learns of it.
func (w *world) maybe(step string) {
	if w.effect[step] == "" && w.rnd.IntN(2) == 0 {
		w.effect[step] = "done"
	}
}

func (w *world) undo(step string) core.Outcome {
	n := w.rnd.IntN(10)
	switch {
	case w.kind || n > 3:
		w.effect[step] = "blocked"
		return core.Outcome{Kind: core.OutcomeDone, Patch: json.RawMessage(fmt.Sprintf(`{"amount":%d}`, -w.pure(step)))}
	case n == 0:
		return core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "cannot"}
	case n == 1:
		w.effect[step] = "blocked" // the answer was lost
	}
	return core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassError, Error: "down"}
}

func (w *world) operator(kind core.EventKind, step string) {
	before := w.text()
	back := w.m.State().Phase == core.Backwards
	effects, err := w.m.Apply(core.Event{Kind: kind, At: w.now, Step: step, Operator: "ann", Reason: "because"})
	if err != nil {
		require.Equal(w.t, before, w.text(), "%s: what is refused changes nothing", w.seed)
		return
	}
	w.log("%s %s", kind, step)
	if kind == core.Skip {
		if back {
			w.unUndone[step] = true
		}
		w.skipped[step] = true
	}
	w.take(effects)
}

func (w *world) apply(e core.Event) {
	e.At = w.now
	effects, err := w.m.Apply(e)
	require.NoError(w.t, err, w.seed)
	w.log("%s %s %s %s: in truth %v, begun %v", e.Kind, e.Step, e.Outcome.Kind, e.Outcome.Case, w.effect, w.m.State().Stack)
	if e.Kind == core.UndoEnded && w.m.Step(e.Step).Status == core.Undone {
		w.undid[e.Step] = true
	}
	w.take(effects)
}

// restart carries the saga on elsewhere: what was under way is lost, or was done.
func (w *world) restart() {
	before := w.text()
	w.m = again(w.t, &w.plan, w.m)
	require.Equal(w.t, before, w.text(), w.seed)
	for _, e := range w.events {
		if e.Kind == core.DoEnded && w.plan.Find(e.Step).Kind != core.Choice {
			w.maybe(e.Step)
		}
	}
	w.events = nil
	clear(w.sleeping)
	clear(w.stopped)
	w.take(w.m.Restart(w.now))
}

// take turns effects into events to come, and checks that they are in order.
func (w *world) take(effects []core.Effect) {
	for _, f := range effects {
		name := f.Step.Name
		running := func(k core.EventKind) bool {
			return slices.ContainsFunc(w.events, func(e core.Event) bool { return e.Kind == k && (e.Step == name || k == core.UndoEnded) })
		}
		switch f.Kind {
		case core.EffectDo:
			require.False(w.t, running(core.DoEnded), "%s: %s is under way", w.seed, name)
			require.Empty(w.t, w.firsts, "%s: %s is done after an Undo", w.seed, name)
			require.Contains(w.t, w.m.State().Stack, name, "%s: on the stack before it runs", w.seed)
			if given := string(w.m.Given(name)); f.Try == 1 {
				w.given[name] = given
			} else {
				require.JSONEq(w.t, w.given[name], given, "%s: %s is tried again with another state", w.seed, name)
			}
			w.events = append(w.events, core.Event{Kind: core.DoEnded, Step: name, Found: f.Again})
		case core.EffectUndo:
			require.False(w.t, running(core.DoEnded) || running(core.UndoEnded), "%s: Undo of %s beside others", w.seed, name)
			require.False(w.t, w.undid[name], "%s: %s was undone", w.seed, name)
			require.True(w.t, f.Step.Undo, w.seed)
			if want, known := w.took[name]; known && !w.terminated && !w.lost {
				require.JSONEq(w.t, want, string(w.m.UndoData(name)), "%s: %s is undone with another state", w.seed, name)
			}
			if !slices.Contains(w.firsts, name) {
				w.firsts = append(w.firsts, name)
			}
			w.events = append(w.events, core.Event{Kind: core.UndoEnded, Step: name})
		case core.EffectSleep:
			require.Positive(w.t, f.For+1, w.seed)
			w.sleeping[name] = true
			w.events = append(w.events, core.Event{Kind: core.Slept, Step: name})
		case core.EffectWake:
			require.True(w.t, w.sleeping[name], "%s: %s does not sleep", w.seed, name)
		case core.EffectStop:
			require.True(w.t, running(core.DoEnded) || running(core.UndoEnded), "%s: %s is not under way", w.seed, name)
			w.stopped[name] = true
		}
	}
}

// ended checks what must be true in the end.
func (w *world) ended() {
	stack := w.m.State().Stack
	at := func(name string) int { return slices.Index(stack, name) }
	require.True(w.t, slices.IsSortedFunc(w.firsts, func(a, b string) int { return at(b) - at(a) }),
		"%s: undone in the order %v, begun in %v", w.seed, w.firsts, stack)
	completed := w.m.State().Phase == core.Completed
	w.plan.Each(func(s *core.Step, _ int) {
		x := w.m.Step(s.Name)
		if s.Group() || w.unUndone[s.Name] {
			return
		}
		effect, begun := w.effect[s.Name], slices.Contains(stack, s.Name)
		switch {
		case completed && (w.skipped[s.Name] || w.lost && len(w.skipped) > 0): // perhaps it was done
		case completed:
			require.Contains(w.t, []core.Status{core.Pending, core.Done, core.Skipped}, x.Status, "%s: %s", w.seed, s.Name)
			require.Equal(w.t, x.Status == core.Done, effect == "done", "%s: %s is %s, in truth %s", w.seed, s.Name, x.Status, effect)
		case s.Undo:
			require.NotEqual(w.t, "done", effect, "%s: %s is %s, and still in effect", w.seed, s.Name, x.Status)
			if begun && x.Status != core.Refused {
				require.True(w.t, w.undid[s.Name], "%s: %s was begun and not undone", w.seed, s.Name)
			}
		}
		if !begun && !w.terminated && !w.lost {
			require.Empty(w.t, effect, "%s: %s was not begun", w.seed, s.Name)
		}
	})
}

func (w *world) anyStep() string {
	var names []string
	w.plan.Each(func(s *core.Step, _ int) { names = append(names, s.Name) })
	return names[w.rnd.IntN(len(names))]
}

func (w *world) text() string {
	text, err := json.Marshal(w.m.State())
	require.NoError(w.t, err)
	return string(text)
}

// generator makes valid plans.
type generator struct {
	rnd     *rand.Rand
	n       int
	pivoted bool
}

func (g *generator) name() string { g.n++; return fmt.Sprint("s", g.n) }

func (g *generator) steps(depth, n int) (out []core.Step) {
	for range n {
		out = append(out, g.step(depth))
	}
	return out
}

func (g *generator) step(depth int) core.Step {
	if kind := g.rnd.IntN(6); depth < 3 && kind < 3 {
		s := core.Step{Name: g.name(), Kind: []core.Kind{core.Sequence, core.Parallel, core.Choice}[kind]}
		if s.Kind != core.Choice {
			s.Steps = g.steps(depth+1, 1+g.rnd.IntN(3))
			return s
		}
		for _, label := range []string{"x", "y", ""}[:1+g.rnd.IntN(3)] {
			s.Steps = append(s.Steps, core.Step{Name: g.name(), Kind: core.Sequence, Case: label, Steps: g.steps(depth+1, 1+g.rnd.IntN(2))})
		}
		return s
	}
	s := core.Step{Name: g.name(), Kind: []core.Kind{core.Local, core.Message, core.Wait, core.Activity}[g.rnd.IntN(4)], Conditional: g.rnd.IntN(4) == 0}
	s.Undo = s.Kind != core.Wait && g.rnd.IntN(6) > 0
	s.NoUndo = !s.Undo
	s.Receives = s.Kind == core.Message && g.rnd.IntN(2) == 0
	s.Topic, s.Type = s.Name, s.Name
	if s.Kind != core.Wait {
		s.Retry.Attempts = g.rnd.IntN(4)
	}
	if g.rnd.IntN(5) == 0 {
		s.OnFailure = core.Park
	}
	if depth == 0 && !g.pivoted && g.rnd.IntN(4) == 0 {
		s.Pivot, g.pivoted = true, true
	}
	return s
}

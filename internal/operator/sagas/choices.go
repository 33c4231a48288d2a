package sagas

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// Choice is something that an operator can ask of a saga now.
type Choice struct {
	// Act is the name of one of Acts; Step is the step that it is about, Refuse that
	// the answer is no.
	Act    string
	Step   string
	Refuse bool
}

// choices are what can be asked of a saga now.
func (r Row) choices(s sagaflow.Status) (all []Choice) {
	if r.State == core.StateCompleted || server.IsLost(r.status) {
		return []Choice{{Act: workflows.UpdateCompensate}}
	}
	machine := core.Resume(&s.Plan, s.Core)
	for _, act := range s.Actions {
		switch act {
		case sagaflow.UpdateSkip:
			s.Plan.Each(func(step *core.Step, _ int) {
				if at := s.Core.Steps[step.Name]; at != nil && at.Status != core.Pending &&
					machine.Check(core.Event{Kind: core.Skip, Step: step.Name}) == nil {
					all = append(all, Choice{Act: act, Step: step.Name})
				}
			})
		case sagaflow.UpdateAnswer:
			for _, name := range waits(s) {
				all = append(all, Choice{Act: act, Step: name}, Choice{Act: act, Step: name, Refuse: true})
			}
		default:
			all = append(all, Choice{Act: act})
		}
	}
	return all
}

// command is the command line by which an operator asks for it.
func (c Choice) command(say text.Suggester, id string) string {
	var flags []string
	if c.Step != "" {
		flags = append(flags, "--step", c.Step)
	}
	if c.Refuse {
		flags = append(flags, "--refuse")
	}
	return say.Command("saga "+c.Act, id, text.WithReason(flags...)...)
}

// possible are the commands that an operator can type now.
func (r Row) possible(say text.Suggester, s sagaflow.Status) (all []string) {
	for _, c := range r.choices(s) {
		all = append(all, c.command(say, r.ID))
	}
	return all
}

// Effects say what a choice would do to the saga as it stands now, in sentences.
func (d Detail) Effects(c Choice) []string {
	if d.Status == nil {
		return []string{"How far the saga came is not known: no process of group " + d.Group + " told. All of its steps " +
			"are undone, the last first; the Undo of a step that was never done finds nothing, and does nothing."}
	}
	s := *d.Status
	s.Core = clone(s.Core)
	machine := core.Resume(&s.Plan, s.Core)
	e := effects{}
	if s.Core.Paused && c.Act != sagaflow.UpdatePause && c.Act != sagaflow.UpdateSkip && c.Act != sagaflow.UpdateAnswer {
		e.say("The pause ends.")
	}
	switch c.Act {
	case sagaflow.UpdatePause:
		e.say("No further step is begun or undone until the saga is resumed. Time limits of replies and answers go on.")
		if busy := underWayNow(s); len(busy) > 0 {
			e.say("What is under way ends: %s.", text.Join(busy))
		}
	case sagaflow.UpdateResume:
		e.say("The saga goes on where it was.")
		e.then(s)
	case sagaflow.UpdateRetry:
		e.retry(s, machine, c.Step)
		e.then(s)
	case sagaflow.UpdateSkip:
		e.skip(s, c.Step)
		e.then(s)
	case sagaflow.UpdateAnswer:
		e.answer(s, c)
	case workflows.UpdateCompensate:
		e.compensate(d, s, machine)
	}
	return e.all
}

// effects gathers sentences.
type effects struct{ all []string }

func (e *effects) say(format string, args ...any) {
	e.all = append(e.all, fmt.Sprintf(format, args...))
}

func (e *effects) then(s sagaflow.Status) {
	if then := comesThen(s); len(then) > 0 {
		e.say("Then: %s.", text.Join(then))
	}
}

func (e *effects) retry(s sagaflow.Status, machine *core.Machine, only string) {
	s.Plan.Each(func(step *core.Step, _ int) {
		meant := only == "" || only == step.Name
		if !meant || machine.Check(core.Event{Kind: core.RetryNow, Step: step.Name}) != nil {
			return
		}
		if s.Core.Phase == core.Backwards {
			e.say("The Undo of %s is tried again, with all its tries anew.", step.Name)
			return
		}
		e.say("%s is tried again at once, with all its tries anew.", step.Name)
	})
}

func (e *effects) skip(s sagaflow.Status, step string) {
	if s.Core.Phase == core.Backwards {
		e.say("%s counts as undone, and nothing is undone for it: what it did is yours to undo.", step)
		return
	}
	e.say("%s counts as done, and nothing is done for it: what it should have brought about is yours to see to.", step)
	if at := s.Plan.Find(step); at != nil && at.Undo {
		e.say("If the saga goes back later, the Undo of %s is run nevertheless.", step)
	}
}

func (e *effects) answer(s sagaflow.Status, c Choice) {
	if !c.Refuse {
		e.say("%s is answered with yes, and the saga goes on.", c.Step)
		e.then(s)
		return
	}
	e.say("%s is answered with no.", c.Step)
	step := s.Plan.Find(c.Step)
	switch {
	case step == nil:
	case step.OnFailure == core.Backward:
		e.say("The saga goes back: what it did so far is undone, the last step first.")
		undo, without := core.Resume(&s.Plan, s.Core).Undoable()
		e.undo(slices.DeleteFunc(undo, func(name string) bool { return name == c.Step }), without)
	default:
		e.say("The saga then waits for an operator.")
	}
}

func (e *effects) compensate(d Detail, s sagaflow.Status, machine *core.Machine) {
	if server.IsLost(d.Row.status) {
		e.say("Its workflow was ended from outside: a second workflow undoes what was done, or may have been.")
		machine.Assume()
	} else if d.State == core.StateCompleted {
		e.say("The saga has completed: a second workflow undoes it.")
	}
	if busy := underWayNow(s); len(busy) > 0 && s.Core.Phase == core.Forwards && !server.IsLost(d.Row.status) {
		e.say("What is under way is stopped first: %s.", text.Join(busy))
	}
	e.undo(machine.Undoable())
}

// undo names what is undone, in that order, and what is not.
func (e *effects) undo(undo, without []string) {
	if len(undo) == 0 {
		e.say("There is nothing to undo.")
	}
	for i, name := range undo {
		e.say("%d. Undo %s.", i+1, name)
	}
	if len(without) > 0 {
		e.say("What has no Undo stays as it is: %s.", text.Join(without))
	}
}

// underWayNow names the steps that are being done or undone.
func underWayNow(s sagaflow.Status) (names []string) {
	s.Plan.Each(func(step *core.Step, _ int) {
		at := s.Core.Steps[step.Name]
		if at != nil && !branches(step) && (at.Status == core.Running || at.Status == core.Undoing) {
			names = append(names, step.Name)
		}
	})
	return names
}

// clone is a copy of what is known of the steps: what would be is tried out on it.
func clone(s core.State) core.State {
	out := s
	out.Steps = map[string]*core.StepState{}
	for name, at := range s.Steps {
		copied := *at
		out.Steps[name] = &copied
	}
	out.Stack = slices.Clone(s.Stack)
	out.Data = json.RawMessage(`{}`)
	return out
}

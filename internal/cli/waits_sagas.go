package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
)

const (
	// sagasListed is how many open sagas are looked at.
	sagasListed = 2000
	// youngSaga is how long ago a saga began at least that is asked what it waits for.
	youngSaga = 2 * time.Second
)

// openSagaStates are the states of open sagas.
var openSagaStates = []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker, core.StateParked,
	core.StateCompensating, core.StateCompensationFailed}

// listSagas lists the open sagas.
func (s *survey) listSagas(ctx context.Context) (rows []sagaRow) {
	f := sagaFilter{prefix: s.Prefix, states: openSagaStates}
	err := eachSaga(ctx, s.temp, f, deadPage, func(r sagaRow) bool {
		rows = append(rows, r)
		s.group(r.Group).hold(r.ID, r.Started)
		return len(rows) < sagasListed
	})
	if err != nil {
		s.fail("sagas", err)
	}
	slices.SortStableFunc(rows, func(x, y sagaRow) int { return x.Started.Compare(y.Started) })
	return rows
}

// hold counts a workflow that waits for the group's processes.
func (g *groupSight) hold(id string, since time.Time) {
	g.open++
	if g.oldest.IsZero() || since.Before(g.oldest) {
		g.oldest, g.example = since, id
	}
}

// lookSagas sorts the open sagas by what they wait for. Those whose group has no
// process cannot be asked: their group is what they wait for.
func (s *survey) lookSagas(ctx context.Context, rows []sagaRow) {
	var asking []sagaRow
	for _, r := range rows {
		switch {
		case s.groups[r.Group].gone(s.unasked):
			continue
		case r.State == core.StatePaused:
			w := s.of(waitSaga, "an operator who resumes it")
			w.Remedy = s.code("saga list", "", "--state", "paused") + " lists them; " + s.code("saga resume", r.ID, withReason()...) + " lets one go on"
			w.note(r.ID, r.Started, time.Time{})
		case r.State == core.StateNoWorker:
			w := s.of(waitSaga, fmt.Sprintf("a worker of group %s that has its version", r.Group))
			w.Missing, w.Remedy = true, "start a process of the group that registers its version: "+s.code("saga show", r.ID)+" says which"
			w.note(r.ID, r.Started, time.Time{})
		case r.State == core.StateParked || r.State == core.StateCompensationFailed:
			w := s.of(waitSaga, "an operator, "+r.State)
			w.Remedy = s.code("saga list", "", "--state", r.State) + " lists them, " + s.code("saga show", "ID") + " says why and what can be done"
			w.note(r.ID, r.Started, time.Time{})
		case s.now.Sub(r.Started) >= youngSaga:
			asking = append(asking, r)
		}
	}
	s.askSagas(ctx, spread(asking, s.asks), len(asking))
}

// spread picks n sagas, the oldest of each group and name in turn.
func spread(rows []sagaRow, n int) (out []sagaRow) {
	if len(rows) <= n {
		return rows
	}
	of := map[string][]sagaRow{}
	var kinds []string
	for _, r := range rows {
		k := r.Group + "/" + r.Name
		if of[k] == nil {
			kinds = append(kinds, k)
		}
		of[k] = append(of[k], r)
	}
	for i := 0; len(out) < n; i++ {
		for _, k := range kinds {
			if i < len(of[k]) && len(out) < n {
				out = append(out, of[k][i])
			}
		}
	}
	return out
}

// askSagas asks sagas what they wait for; all is how many there are of these.
func (s *survey) askSagas(ctx context.Context, rows []sagaRow, all int) {
	var mu sync.Mutex
	silent := 0
	var first error
	var asking errgroup.Group
	asking.SetLimit(resultsAtOnce)
	for _, r := range rows {
		asking.Go(func() error {
			mu.Lock()
			tooMany := silent >= resultsAtOnce
			mu.Unlock()
			if tooMany || ctx.Err() != nil {
				return nil // nobody answers in time
			}
			var status workflows.SagaStatus
			err := s.temp.askStatus(ctx, r.WorkflowID, r.RunID, &status)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent++
				first = err
				return nil
			}
			s.noteSaga(r, status, all > len(rows))
			return nil
		})
	}
	_ = asking.Wait()
	if first != nil {
		s.fail(plural(silent, "saga")+" did not say what it waits for", first)
	}
}

// noteSaga notes what a saga waits for; more says that others were not asked.
func (s *survey) noteSaga(r sagaRow, status workflows.SagaStatus, more bool) {
	for _, name := range sortedKeys(status.Core.Steps) {
		at, step := status.Core.Steps[name], status.Plan.Find(name)
		if step == nil {
			continue
		}
		topic := step.Topic
		if at.Status == core.Undoing {
			topic = step.UndoTopic
		}
		since, waiting := status.Since[name]
		of := fmt.Sprintf("saga %s, step %s", r.Name, name)
		var w *wait
		next := time.Time{}
		switch {
		case at.Status == core.Retrying || at.Status == core.Reundoing:
			w = s.of(waitSaga, "the next try: "+of)
			w.Then, w.Detail, next, since = "it is tried again", cutText(at.Error, 200), at.Next, at.Began
			w.Remedy = "mend what the error names; " + s.code("retry-now", "") + " tries again at once"
		case at.Status != core.Running && at.Status != core.Undoing || !waiting:
			continue
		case step.Kind == core.Message:
			w = s.of(waitSaga, "participant "+topic)
			w.Then, next = "the step's try times out", since.Add(step.TryTimeout())
			if held, there := status.Waits[name]; there {
				w.Then, next, w.held = "it is asked again, within 5 minutes", time.Time{}, "the saga "+held.String()
				w.Detail = w.held
			}
			if !slices.Contains(w.steps, of) {
				w.steps = append(w.steps, of)
			}
		case step.Kind == core.Wait:
			w = s.of(waitSaga, "an answer: "+of)
			w.Then, next = "the wait times out", since.Add(step.TryTimeout())
			w.Remedy = s.code("saga answer", r.ID, withReason("--step", name)...)
		default:
			continue
		}
		w.AtLeast = w.AtLeast || more
		w.note(r.ID, since, next)
		if step.Kind != core.Wait {
			s.nudge(r.WorkflowID, w, workflows.UpdateRetry, workflows.SagaRequest{Operator: s.operator, Reason: s.reason, Step: name})
		}
	}
}

const participantPrefix = "participant "

// lookParticipants finds out whether the participants that are called are there: those
// that sagas wait for, and those that the plans of running processes name.
func (s *survey) lookParticipants(ctx context.Context) {
	if s.unasked != nil {
		return
	}
	for _, w := range slices.Clone(s.all) {
		if topic, ok := strings.CutPrefix(w.For, participantPrefix); ok && w.Kind == waitSaga {
			s.lookParticipant(ctx, w, topic)
		}
	}
}

func (s *survey) lookParticipant(ctx context.Context, w *wait, topic string) {
	w.Detail = join(w.steps)
	if of := takes(s.answers, topic); len(of) > 0 {
		for _, c := range of {
			if severity(c) > 0 {
				w.Detail += fmt.Sprintf("; the breaker of %s is %s%s: %s", c.Name, c.Breaker, since(c.Since, s.now), c.Error)
				w.Remedy = "mend the dependency that the error names; it goes on by itself"
				return
			}
			if !c.WaitsSince.IsZero() {
				w.Detail += fmt.Sprintf("; %s cannot work on them%s: %s", c.Name, since(c.WaitsSince, s.now), c.Error)
				w.Remedy = "mend what the error names; it goes on by itself"
				return
			}
		}
		w.Detail += fmt.Sprintf("; %s: it is slow, or tries again", runs(of))
		w.Remedy = "see the log of its processes, and " + s.code("dead list", "", "--consumer", of[0].Name)
		return
	}
	names := []string{topic} // the default name
	for _, c := range heardOf(s.answers) {
		if c.Matches(topic) && c.Name != topic {
			names = append(names, c.Name)
		}
	}
	queues := make([]string, len(names))
	for i, n := range names {
		queues[i] = s.broker.ConsumerQueue(n)
	}
	info, err := s.broker.Inspect(ctx, queues...)
	if err != nil {
		s.fail("participant "+topic, err)
		return
	}
	for i, q := range info.Queues {
		switch {
		case q.Consumers > 0: // of a version that does not answer, or busy
			w.Detail += fmt.Sprintf("; %s is read, but no process with it answers", q.Name)
			if w.held != "" {
				w.Detail += "; " + w.held
			}
			w.Remedy = "see whether its processes are overloaded, and their log"
			return
		case q.Exists:
			w.Missing = true
			w.Detail += fmt.Sprintf("; no process takes %s; its queue %s keeps %s", topic, q.Name, plural(q.Messages, "message"))
			w.Remedy = "start a process of participant " + names[i] + ": the sagas go on by themselves then"
			return
		}
	}
	w.Missing = true
	w.Detail += fmt.Sprintf("; no process takes %s, and it has no queue", topic)
	w.Remedy = "start a process with a Participant whose Topic (or UndoTopic) is " + topic + ": the sagas go on by themselves then; " + s.code("retry-now", "") + " has them ask at once"
}

// runs says how a consumer is that runs.
func runs(of []broker.ConsumerStatus) string {
	handling := 0
	for _, c := range of {
		handling += c.Handling
	}
	return fmt.Sprintf("%s with %s, %s in work", processCount(len(of)), of[0].Name, plural(handling, "message"))
}

// lookUncalled finds the participants that sagas of running processes would call, and that
// no process takes, although no saga waits for them yet.
func (s *survey) lookUncalled(ctx context.Context) {
	if s.unasked != nil {
		return
	}
	known := map[string]bool{}
	for _, w := range s.all {
		known[w.For] = true
	}
	steps := map[string][]string{}
	for _, d := range definitionsOf(s.answers) {
		var p core.Plan
		if json.Unmarshal(d.Plan, &p) != nil { // it may be missing
			continue
		}
		p.Each(func(x *core.Step, _ int) {
			for _, topic := range []string{x.Topic, x.UndoTopic} {
				of := fmt.Sprintf("saga %s, step %s", d.Name, x.Name)
				if x.Kind == core.Message && topic != "" && !slices.Contains(steps[topic], of) {
					steps[topic] = append(steps[topic], of)
				}
			}
		})
	}
	for _, topic := range sortedKeys(steps) {
		if known[participantPrefix+topic] || len(takes(s.answers, topic)) > 0 {
			continue
		}
		w := &wait{Kind: waitSaga, For: participantPrefix + topic, steps: steps[topic]}
		s.lookParticipant(ctx, w, topic)
		if w.Missing {
			s.uncalled = append(s.uncalled, w)
		}
	}
}

package waits

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
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

const (
	// sagasListed is how many open sagas are looked at.
	sagasListed = 2000
	// youngSaga is how long ago a saga began at least that is asked what it waits for.
	youngSaga = 2 * time.Second
)

// openSagaStates are the states of open sagas.
var openSagaStates = []string{core.StateRunning, core.StateWaiting, core.StatePaused, core.StateNoWorker,
	core.StateParked,
	core.StateCompensating, core.StateCompensationFailed}

// listSagas lists the open sagas.
func (s *Survey) listSagas(ctx context.Context) (rows []sagas.Row) {
	f := sagas.Filter{Prefix: s.Prefix, States: openSagaStates}
	err := sagas.Each(ctx, s.Server, f, server.PageLimit, func(r sagas.Row) bool {
		s.group(r.Group).hold(r.ID, r.Started)
		if r.Cohort == "" { // nobody can be asked of one that shares a workflow: it ends or leaves at once
			rows = append(rows, r)
		}
		return len(rows) < sagasListed
	})
	if err != nil {
		s.fail("sagas", err)
	}
	slices.SortStableFunc(rows, func(x, y sagas.Row) int { return x.Started.Compare(y.Started) })
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
func (s *Survey) lookSagas(ctx context.Context, rows []sagas.Row) {
	var asking []sagas.Row
	for _, r := range rows {
		switch {
		case s.groups[r.Group].gone(s.unasked):
			continue
		case r.State == core.StatePaused:
			s.notePaused(r)
		case r.State == core.StateNoWorker:
			w := s.of(WaitSaga, fmt.Sprintf("a worker of group %s that has its version", r.Group))
			w.Missing, w.Remedy = true, "start a process of the group that registers its version: "+s.Code("saga show",
				r.ID)+" says which"
			w.Note(r.ID, r.Started, time.Time{})
		case r.State == core.StateParked || r.State == core.StateCompensationFailed:
			w := s.of(WaitSaga, "an operator, "+r.State)
			w.Remedy = s.Code("saga list", "", "--state", r.State) + " lists them, " + s.Code("saga show", "ID") +
				" says why and what can be done"
			w.Note(r.ID, r.Started, time.Time{})
		case s.Now.Sub(r.Started) >= youngSaga:
			asking = append(asking, r)
		}
	}
	s.askSagas(ctx, spread(asking, s.Asks), len(asking))
	for _, w := range s.all { // of the others nothing is known
		w.AtLeast = w.AtLeast || w.Kind == WaitSaga && len(rows) >= sagasListed
	}
}

func (s *Survey) notePaused(r sagas.Row) {
	w := s.of(WaitSaga, "an operator who resumes it")
	w.Remedy = s.Code("saga list", "", "--state", "paused") + " lists them; " + s.Code("saga resume", r.ID,
		text.WithReason()...) + " lets one go on"
	w.Note(r.ID, r.Started, time.Time{})
}

// spread picks n sagas, the oldest of each group and name in turn.
func spread(rows []sagas.Row, n int) (out []sagas.Row) {
	if len(rows) <= n {
		return rows
	}
	of := map[string][]sagas.Row{}
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
func (s *Survey) askSagas(ctx context.Context, rows []sagas.Row, all int) {
	s.unlooked += all - len(rows)
	var mu sync.Mutex
	silent := 0
	var first error
	var asking errgroup.Group
	asking.SetLimit(server.ResultsAtOnce)
	for _, r := range rows {
		asking.Go(func() error {
			mu.Lock()
			tooMany := silent >= server.ResultsAtOnce
			mu.Unlock()
			if tooMany || ctx.Err() != nil {
				return nil // nobody answers in time
			}
			var status sagaflow.Status
			err := s.Server.AskStatus(ctx, r.WorkflowID, r.RunID, &status)
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
		s.fail(text.Plural(silent, "saga")+" did not say what it waits for", first)
	}
}

// noteSaga notes what a saga waits for; more says that others were not asked.
func (s *Survey) noteSaga(r sagas.Row, status sagaflow.Status, more bool) {
	if status.Core.Paused { // since it was listed; what is tried again by hand would end the pause
		s.notePaused(r)
		return
	}
	for _, name := range text.SortedKeys(status.Core.Steps) {
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
		var w *Wait
		next := time.Time{}
		switch {
		case at.Status == core.Retrying || at.Status == core.Reundoing:
			w = s.of(WaitSaga, "the next try: "+of)
			w.Then, w.Detail, next, since = "it is tried again", text.CutText(at.Error, 200), at.Next, at.Began
			w.Remedy = "mend what the error names; " + s.Code("retry-now", "") + " tries again at once"
		case at.Status != core.Running && at.Status != core.Undoing || !waiting:
			continue
		case step.Kind == core.Message:
			w = s.of(WaitSaga, "participant "+topic)
			w.Then, next = "the step's try times out", since.Add(step.TryTimeout())
			if held, there := status.Waits[name]; there {
				w.Then, next, w.held = "it is asked again, within 5 minutes", time.Time{}, "the saga "+held.String()
				w.Detail = w.held
			}
			if !slices.Contains(w.steps, of) {
				w.steps = append(w.steps, of)
			}
		case step.Kind == core.Wait:
			w = s.of(WaitSaga, "an answer: "+of)
			w.Then, next = "the wait times out", since.Add(step.TryTimeout())
			w.Remedy = s.Code("saga answer", r.ID, text.WithReason("--step", name)...)
		default:
			continue
		}
		w.AtLeast = w.AtLeast || more
		w.Note(r.ID, since, next)
		if step.Kind != core.Wait {
			s.nudge(r.WorkflowID, w, sagaflow.UpdateRetry, sagaflow.Request{Operator: s.By, Reason: s.Why, Step: name})
		}
	}
}

// ParticipantPrefix is how what waits for a participant is called.
const ParticipantPrefix = "participant "

// lookParticipants finds out whether the participants that are called are there: those
// that sagas wait for, and those that the plans of running processes name.
func (s *Survey) lookParticipants(ctx context.Context) {
	if s.unasked != nil {
		return
	}
	for _, w := range slices.Clone(s.all) {
		if topic, ok := strings.CutPrefix(w.For, ParticipantPrefix); ok && w.Kind == WaitSaga {
			s.lookParticipant(ctx, w, topic)
		}
	}
}

func (s *Survey) lookParticipant(ctx context.Context, w *Wait, topic string) {
	w.Detail = text.Join(w.steps)
	if of := processes.Takes(s.answers, topic); len(of) > 0 {
		for _, c := range of {
			if c.Paused != nil {
				w.Detail += fmt.Sprintf("; %s is %s%s", c.Name, c.Paused, processes.Since(c.Paused.Since, s.Now))
				w.Remedy = s.Command("consumers resume", c.Name, text.WithReason()...)
				return
			}
			if processes.Severity(c) > 0 {
				w.Detail += fmt.Sprintf("; the breaker of %s is %s%s: %s", c.Name, c.Breaker,
					processes.Since(c.Since, s.Now), c.Error)
				w.Remedy = "mend the dependency that the error names; it goes on by itself"
				return
			}
			if !c.WaitsSince.IsZero() {
				w.Detail += fmt.Sprintf("; %s cannot work on them%s: %s", c.Name, processes.Since(c.WaitsSince, s.Now), c.Error)
				w.Remedy = "mend what the error names; it goes on by itself"
				return
			}
		}
		w.Detail += fmt.Sprintf("; %s: it is slow, or tries again", runs(of))
		w.Remedy = "see the log of its processes, and " + s.Code("dead list", "", "--consumer", of[0].Name)
		return
	}
	names := []string{topic} // the default name
	for _, c := range processes.HeardOf(s.answers) {
		if c.Matches(topic) && c.Name != topic {
			names = append(names, c.Name)
		}
	}
	queues := make([]string, len(names))
	for i, n := range names {
		queues[i] = s.Broker.ConsumerQueue(n)
	}
	info, err := s.Broker.Inspect(ctx, queues...)
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
			w.Detail += fmt.Sprintf("; no process takes %s; its queue %s keeps %s", topic, q.Name,
				text.Plural(q.Messages, "message"))
			w.Remedy = "start a process of participant " + names[i] + ": the sagas go on by themselves then"
			return
		}
	}
	w.Missing = true
	w.Detail += fmt.Sprintf("; no process takes %s, and it has no queue", topic)
	w.Remedy = "start a process with a Participant whose Topic (or UndoTopic) is " + topic +
		": the sagas go on by themselves then; " + s.Code("retry-now", "") + " has them ask at once"
}

// runs says how a consumer is that runs.
func runs(of []broker.ConsumerStatus) string {
	handling := 0
	for _, c := range of {
		handling += c.Handling
	}
	return fmt.Sprintf("%s with %s, %s in work", text.ProcessCount(len(of)), of[0].Name, text.Plural(handling, "message"))
}

// lookUncalled finds the participants that sagas of running processes would call, and that
// no process takes, although no saga waits for them yet.
func (s *Survey) lookUncalled(ctx context.Context) {
	if s.unasked != nil {
		return
	}
	known := map[string]bool{}
	for _, w := range s.all {
		known[w.For] = true
	}
	steps := map[string][]string{}
	for _, d := range processes.DefinitionsOf(s.answers) {
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
	for _, topic := range text.SortedKeys(steps) {
		if known[ParticipantPrefix+topic] || len(processes.Takes(s.answers, topic)) > 0 {
			continue
		}
		w := &Wait{Kind: WaitSaga, For: ParticipantPrefix + topic, steps: steps[topic]}
		s.lookParticipant(ctx, w, topic)
		if w.Missing {
			s.Uncalled = append(s.Uncalled, w)
		}
	}
}

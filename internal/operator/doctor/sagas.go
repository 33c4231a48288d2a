package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/saga/core"
)

const (
	// longWait is how long ago a saga that waits for an answer began before it is
	// worth a warning.
	longWait = core.DefaultWaitTimeout
	// strandedShown is how many sagas without a worker are asked for their version,
	// and lostShown how many that were ended from outside are looked at.
	strandedShown, lostShown = 20, 100
)

// countSagas counts the workflows that f finds.
func countSagas(ctx context.Context, t *server.Temporal, f sagas.Filter, more string) (int, error) {
	n, err := t.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: t.Namespace,
		Query: f.Query() + more})
	return int(n.GetCount()), err
}

// sagas counts the sagas that are not on their happy path.
func (f *Findings) sagas(ctx context.Context, t *server.Temporal, prefix string, now time.Time) {
	counts := map[string]int{}
	states := []string{core.StateParked, core.StateCompensationFailed, core.StateWaiting, core.StatePaused,
		core.StateCompensating}
	left, err := countSagas(ctx, t, sagas.Filter{Prefix: prefix, States: states}, "")
	for _, s := range states {
		if err == nil && left > 0 { // mostly they are of one or two
			counts[s], err = countSagas(ctx, t, sagas.Filter{Prefix: prefix, States: []string{s}}, "")
			left -= counts[s]
		}
	}
	if err != nil {
		f.add(text.LevelWarning, "sagas", "", "unknown: %s", text.Of(err))
		return
	}
	f.openSagas(counts)
	old := " AND StartTime < " + server.Quote(now.Add(-longWait).UTC().Format(time.RFC3339Nano))
	if counts[core.StateWaiting] == 0 {
		return
	}
	if n, err := countSagas(ctx, t, sagas.Filter{Prefix: prefix, States: []string{core.StateWaiting}},
		old); err == nil && n > 0 {
		f.add(text.LevelWarning, "waiting sagas", f.Code("saga list", "", "--state", "waiting", "--older-than",
			longWait.String())+" lists them, "+f.Code("saga show", "ID")+" says how to answer",
			"%s for an answer, and began more than %s ago", text.Plural(n, "saga")+" waiting", text.Age(longWait))
	}
}

// openSagas judges how many sagas are in which state.
func (f *Findings) openSagas(counts map[string]int) {
	const check = "sagas"
	if n := counts[core.StateCompensationFailed]; n > 0 {
		f.add(text.LevelProblem, "sagas not undone", f.Code("saga list", "", "--state",
			"compensation-failed")+" lists them, "+f.Code("saga show", "ID")+" says why and what can be done: mend the "+
			"cause, then retry, or skip what was undone by hand",
			"%s that could not be undone: some of what each did still stands", text.Plural(n, "saga"))
	}
	var rest []string
	for _, s := range []string{core.StatePaused, core.StateWaiting, core.StateCompensating} {
		if n := counts[s]; n > 0 {
			rest = append(rest, fmt.Sprintf("%d %s", n, s))
		}
	}
	more := ""
	if len(rest) > 0 {
		more = "; " + text.Join(rest)
	}
	if n := counts[core.StateParked]; n > 0 {
		f.add(text.LevelWarning, check, f.Code("saga list", "", "--state", "parked")+" lists them, "+f.Code("saga show",
			"ID")+" says why and what can be done", "%s for an operator%s",
			text.Plural(n, "saga")+" waiting", more)
		return
	}
	f.ok(check, "none is parked%s", more)
}

// StrandedSagas finds sagas whose version no worker has, and names the versions.
func (f *Findings) StrandedSagas(ctx context.Context, t *server.Temporal, prefix string,
	definitions func() ([]broker.SagaDefinition, error)) {
	var rows []sagas.Row
	err := sagas.Each(ctx, t, sagas.Filter{Prefix: prefix, States: []string{core.StateNoWorker}}, strandedShown,
		func(r sagas.Row) bool {
			rows = append(rows, r)
			return len(rows) <= strandedShown
		})
	if err != nil {
		f.add(text.LevelWarning, "saga versions", "", "unknown: %s", text.Of(err))
		return
	}
	if len(rows) == 0 {
		f.ok("saga versions", "no saga waits for a worker that has its version")
		return
	}
	sagas.Tell(ctx, t, rows)
	running, err := definitions()
	f.stranded(rows, running, err)
}

// stranded says which versions are missing, and which there are; unasked says why
// the processes could not be asked.
func (f *Findings) stranded(rows []sagas.Row, running []broker.SagaDefinition, unasked error) {
	type definition struct {
		group, name string
		version     int
	}
	missing := map[definition][]string{}
	var order []definition
	for _, r := range rows {
		d := definition{r.Group, r.Name, r.Version}
		if missing[d] == nil {
			order = append(order, d)
		}
		missing[d] = append(missing[d], r.ID)
	}
	for _, d := range order {
		what := d.name
		if d.version > 0 {
			what += fmt.Sprintf(" version %d", d.version)
		}
		n := text.Plural(len(missing[d]), "saga")
		if len(rows) > strandedShown {
			n = "at least " + n
		}
		if slices.ContainsFunc(running, func(r broker.SagaDefinition) bool {
			return r.Group == d.group && r.Name == d.name && r.Version == d.version
		}) {
			f.add(text.LevelProblem, "saga versions", fmt.Sprintf("see %s, and that processes of group %s with the saga's "+
				"database run", f.Code("saga show", missing[d][0]), d.group),
				"%s waiting although processes of group %s have %s: those that were asked have another database than the saga, "+
					"or one has only just started", n, d.group, what)
			continue
		}
		f.add(text.LevelProblem, "saga versions", fmt.Sprintf("start a process of group %s that registers %s; or see %s",
			d.group, what, f.Code("saga show", missing[d][0])),
			"%s waiting for a worker of group %s with %s; %s", n, d.group, what, versionsOf(running, d.group, d.name, unasked))
	}
}

// versionsOf says which versions of a saga the running processes of a group have.
func versionsOf(running []broker.SagaDefinition, group, name string, unasked error) string {
	if unasked != nil && len(running) == 0 {
		return "which versions the running processes have is not known: " + text.Of(unasked)
	}
	var versions []int
	for _, d := range running {
		if d.Group == group && d.Name == name {
			versions = append(versions, d.Version)
		}
	}
	if len(versions) == 0 {
		return "no running process of the group has this saga in any version"
	}
	slices.Sort(versions)
	said := strings.Trim(strings.ReplaceAll(fmt.Sprint(slices.Compact(versions)), " ", ", "), "[]")
	return "running processes have: " + said
}

// LostSagas finds sagas whose workflow was ended from outside and that were
// neither undone nor started again since, among the latest.
func (f *Findings) LostSagas(ctx context.Context, t *server.Temporal, prefix string) {
	const check = "lost sagas"
	filter := sagas.Filter{Prefix: prefix, States: server.LostStates}
	infos, err := t.Page(ctx, filter.Query(), lostShown)
	var rows []sagas.Row
	if err == nil {
		rows, err = sagas.RowsOf(ctx, t, infos, map[string]bool{})
	}
	rows = slices.DeleteFunc(rows, func(r sagas.Row) bool { return !filter.Matches(r) || sagas.DidNothing(ctx, t, r) })
	switch {
	case err != nil:
		f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
	case len(rows) == 0:
		f.ok(check, "no saga's workflow was ended from outside")
	default:
		f.add(text.LevelProblem, check, "look at one, such as: "+f.Command("saga show", rows[0].ID)+"; "+
			f.Code("saga compensate", "", text.WithReason("--state", strings.Join(server.LostStates,
				","))...)+" undoes what they did", "%s neither completed nor undone: the workflow was ended from outside, by a "+
			"termination for example", text.Plural(len(rows), "saga"))
	}
}

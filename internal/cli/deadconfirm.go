package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// confirm asks whether to act on so many. A single one that was named is not
// asked about.
func (a *app) confirm(ctx context.Context, act deadAct, o *deadOrder, rows []deadRow, named bool) error {
	terminal := isTerminal(a.In)
	switch {
	case o.yes || named || len(rows) == 1 && !terminal:
		return nil
	case !terminal:
		return usagef("%s means to %s: add --yes, or see which with --dry-run", plural(len(rows), "dead letter"), act.name)
	}
	return confirmed(ctx, a.Err, a.In, fmt.Sprintf("%s%s %s?", strings.ToUpper(act.name[:1]), act.name[1:], plural(len(rows), "dead letter")))
}

// errUnconfirmed ends a command whose question was not answered with yes.
var errUnconfirmed = errors.New("not confirmed: nothing was done")

// confirmed asks a question that is answered with y or yes, or with anything else
// for no.
func confirmed(ctx context.Context, ask io.Writer, in io.Reader, question string) error {
	printf(ask, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // ends with the line, or the process: a terminal cannot be asked less
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- line
	}()
	select {
	case line := <-answer:
		if a := strings.ToLower(strings.TrimSpace(line)); a == "y" || a == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return errUnconfirmed
}

// progress shows how far a batch is, on a terminal. Each letter counts once when
// it was asked, and once more when its end is known if that is waited for.
func (a *app) progress(act deadAct, n int, waits bool) (tick, done func()) {
	if n < 2 || !isTerminal(a.Err) || a.Term == "dumb" {
		return func() {}, func() {}
	}
	if waits {
		n *= 2
	}
	bar := progressbar.NewOptions(n, progressbar.OptionSetWriter(a.Err), progressbar.OptionSetDescription(act.name),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	return func() { _ = bar.Add(1) }, func() { _ = bar.Finish() } // a bar that cannot be drawn is not missed
}

// reportDead prints what became of it all, and ends the command.
func (a *app) reportDead(act deadAct, o *deadOrder, all []outcome, named bool) error {
	bad := 0
	for _, r := range all {
		if r.bad(o.wait > 0, named) {
			bad++
		}
	}
	switch {
	case o.asJSON:
		if err := printJSON(a.Out, all); err != nil {
			return err
		}
	case len(all) == 1 && bad == 1:
		return all[0].err(act)
	case len(all) == 1:
		printf(a.Out, "%s\n", all[0].sentence())
	default:
		if err := printOutcomes(a.Out, act, all); err != nil {
			return err
		}
	}
	if bad > 0 {
		return statusError(exitError)
	}
	return nil
}

// sentence says what became of one dead letter.
func (o outcome) sentence() string {
	s := fmt.Sprintf("Dead letter %s: %s", o.WorkflowID, o.Outcome)
	if o.Detail != "" {
		s += ", " + o.Detail
	}
	return oneLine(s) + "."
}

// err is a bad outcome as the command's error.
func (o outcome) err(act deadAct) error {
	err := fmt.Errorf("%s %s: %s: %s", act.name, o.WorkflowID, o.Outcome, o.Detail)
	if o.Remedy == "" {
		o.Remedy = remedies[o.Outcome]
	}
	if o.Remedy == "" {
		o.Remedy = "`holdfast dead show " + shellWord(o.WorkflowID) + "` says more"
	}
	return withRemedy(err, "%s", o.Remedy)
}

// remedies are what to do about verdicts, where the outcome does not know.
var remedies = map[verdict]string{
	isUnknown:     "it may have taken effect: `holdfast dead show` says; repeating the command is safe",
	isUnsent:      "repeat the command: what is settled, or under way, is left alone",
	isRedelivered: "`holdfast dead show` says later what came of it; --wait waits longer",
}

// printOutcomes writes a table, and a line with the counts.
func printOutcomes(w io.Writer, act deadAct, all []outcome) error {
	t := newTable(w, "MESSAGE", "CONSUMER", "OUTCOME", "DETAIL")
	for _, o := range all {
		t.row(o.ID, orDash(o.Consumer), string(o.Outcome), orDash(cutText(o.Detail, 120)))
	}
	if err := t.flush(); err != nil {
		return err
	}
	printf(w, "\n%s: %s\n", act.name, summarize(all))
	told := map[string]bool{}
	for _, o := range all {
		remedy := remedies[o.Outcome]
		if o.Outcome == isUndoing {
			remedy = o.Remedy
		}
		if remedy != "" && !told[string(o.Outcome)] {
			told[string(o.Outcome)] = true
			printf(w, "%s: %s\n", o.Outcome, oneLine(remedy))
		}
	}
	return nil
}

// join lists names for a sentence.
func join(names []string) string { return strings.Join(names, ", ") }

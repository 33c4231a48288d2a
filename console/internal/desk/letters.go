package desk

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// LetterCount are dead letters, counted by what they have in common.
type LetterCount struct {
	Groups []deadletters.Group // the largest first
	// More says that there are others, which are in no group. Seen is how many are in one, and
	// All how many there are, as Temporal counts them; 0: it cannot be asked.
	More      bool
	Seen, All int
}

// LetterGroups counts dead letters by what they have in common. Where there are more than are
// looked at, Temporal counts them, by consumer too; of what else they have in common it knows
// nothing.
func (d *Desk) LetterGroups(ctx context.Context, by string, f deadletters.Filter) (counted LetterCount, err error) {
	if deadletters.Groupings[by] == nil {
		return counted, errors.New("dead letters can be counted by error, consumer, topic or class")
	}
	f.Prefix = d.c.Prefix
	t, err := d.lists(ctx, &f, &f.Key)
	if err != nil {
		return counted, err
	}
	countable := f.Countable()
	if f.Scan = scanned; countable {
		f.Scan = lettersCounted // each that is looked at is one that is meant
	}
	if countable {
		if counted.All, err = deadletters.Total(ctx, t, f); err != nil || counted.All == 0 {
			return counted, err
		}
		if by == "consumer" && counted.All > lettersCounted {
			counted.Groups, err = deadletters.TotalByConsumer(ctx, t, f)
			for _, g := range counted.Groups {
				counted.Seen += g.Count
			}
			counted.More = counted.Seen < counted.All
			return counted, err
		}
	}
	var c deadletters.Counter
	err = deadletters.Each(ctx, t, f, min(max(counted.All, 100), server.PageLimit), func(r deadletters.Row) bool {
		if counted.More = counted.Seen == lettersCounted; !counted.More {
			c.Count(by, r)
			counted.Seen++
		}
		return !counted.More
	})
	if errors.As(err, new(*server.ScannedError)) {
		counted.More, err = true, nil
	}
	counted.Groups = c.Largest()
	switch {
	case countable && counted.More:
		counted.All = max(counted.All, counted.Seen+1) // more have come since they were counted
	case countable:
		counted.All = counted.Seen
	}
	return counted, err
}

// Letters lists dead letters, so many at most; rest says what was not looked at, or is not
// listed.
func (d *Desk) Letters(ctx context.Context, f deadletters.Filter, limit int) (rows []deadletters.Row, rest string,
	err error) {
	f.Prefix, f.Scan = d.c.Prefix, scanned
	t, err := d.lists(ctx, &f, &f.Key)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	rows, more, err := actions.First(limit, func(size int, visit func(deadletters.Row) bool) error {
		return deadletters.Each(ctx, t, f, size, visit)
	})
	rest, err = d.restOf(more, err)
	return rows, rest, err
}

// Letter shows the dead letter that an ID means.
func (d *Desk) Letter(ctx context.Context, id string) (deadletters.Detail, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return deadletters.Detail{}, err
	}
	row, err := deadletters.Find(ctx, t, id, "", d.c.Prefix)
	if err != nil {
		return deadletters.Detail{}, err
	}
	return deadletters.Describe(ctx, t, row, d.c.UI, BodyShown)
}

// LettersTogether are the dead letters that a filter means and skip does not, the oldest first
// of those that were looked at, most of them at most, each as its workflow says that it stands;
// more says that there are others.
func (d *Desk) LettersTogether(ctx context.Context, f deadletters.Filter, most int,
	skip func(deadletters.Detail) bool) (all []deadletters.Detail, more bool, err error) {
	f.Prefix, f.Scan = d.c.Prefix, scanned
	t, err := d.lists(ctx, &f, &f.Key)
	if err != nil {
		return nil, false, err
	}
	within, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	var rows []deadletters.Row
	err = deadletters.Each(within, t, f, server.PageLimit, deadletters.Collect(&rows))
	if errors.As(err, new(*server.ScannedError)) {
		more, err = true, nil
	}
	if err != nil {
		return nil, false, err
	}
	rows = actions.Oldest(rows, 0, func(r deadletters.Row) time.Time { return r.Started })
	all, rest := oldestOf(rows, most, func(rows []deadletters.Row) []deadletters.Detail {
		return deadletters.Stand(ctx, t, rows)
	}, skip)
	return all, more || rest, nil
}

// oldestOf has it said how rows stand, until there are most that are not skipped; rest says
// that there are rows after them.
func oldestOf(rows []deadletters.Row, most int, stand func([]deadletters.Row) []deadletters.Detail,
	skip func(deadletters.Detail) bool) (all []deadletters.Detail, rest bool) {
	for len(rows) > 0 && len(all) < most {
		n := min(len(rows), most-len(all))
		for _, d := range stand(rows[:n]) {
			if !skip(d) {
				all = append(all, d)
			}
		}
		rows = rows[n:]
	}
	return all, len(rows) > 0
}

// LetterNow is a dead letter as it stands now, without its message.
func (d *Desk) LetterNow(ctx context.Context, workflowID string) (deadletters.Detail, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return deadletters.Detail{}, err
	}
	return deadletters.Now(ctx, t, workflowID)
}

// LetterBody is the whole body of a dead letter's message. An error says why it cannot be read,
// such as that only its beginning is there.
func (d *Desk) LetterBody(ctx context.Context, row deadletters.Row) ([]byte, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return nil, err
	}
	var cut strings.Builder
	body, err := deadletters.ReadBody(ctx, t, row, &cut)
	if err == nil && cut.Len() > 0 {
		err = errors.New("only its beginning is here")
	}
	return body, err
}

// FindLetter returns the workflow's ID of the dead letter that an ID or a key means.
func (d *Desk) FindLetter(ctx context.Context, id string) (string, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return "", err
	}
	row, err := deadletters.Find(ctx, t, id, "", d.c.Prefix)
	return row.WorkflowID, err
}

// ActOnLetter does an action on a dead letter. An error says that nothing was sent.
func (d *Desk) ActOnLetter(ctx context.Context, row deadletters.Row, name string, who Who) (actions.Outcome, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return actions.Outcome{}, err
	}
	act, ok := deadletters.ActNamed(name)
	if !ok {
		return actions.Outcome{}, errors.New("there is no such action on dead letters")
	}
	rows := []deadletters.Row{row}
	if err := deadletters.AnybodyThere(ctx, t, rows); err != nil {
		return actions.Outcome{}, err
	}
	b := &deadletters.Batch{T: t, Prefix: d.c.Prefix, Act: act, Crew: crew(), Now: d.now,
		Req: deadflow.Request{Operator: who.Operator, Reason: who.Reason}}
	switch act.Update {
	case deadflow.UpdateRedeliver:
		b.Wait, b.Req.Wait, b.Req.Once = comes, comes, true
	case workflows.UpdateCompensate:
		b.Wait = comes
	}
	return b.Run(ctx, rows)[0], nil
}

// Package desk is an installation as the console's pages see it. It stands on
// internal/operator, as the command line does: what it knows beside that is how long a page
// may take, and how much of something it shows.
package desk

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

const (
	// BodyShown is how many bytes of a message's body are read for a page.
	BodyShown = 64 << 10
	// comes is how long an action waits for what comes of it.
	comes = 10 * time.Second
	// lettersCounted is how many dead letters are counted by what they have in common.
	lettersCounted = 1000
	// scanned is how many workflows are looked at for those that a filter means, and
	// scanTime how long.
	scanned, scanTime = 5000, 8 * time.Second
)

// Who asks for an action, and why.
type Who struct{ Operator, Reason string }

// Desk reaches one installation. It connects to Temporal once, when it is first asked.
type Desk struct {
	c   *reach.Config
	now func() time.Time

	mu     sync.Mutex
	server *server.Temporal
}

// New returns the desk of an installation.
func New(c *reach.Config, now func() time.Time) *Desk { return &Desk{c: c, now: now} }

// Close ends the connection.
func (d *Desk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.server != nil {
		d.server.Close()
		d.server = nil
	}
}

// temporal connects if that has not been done, or did not succeed. Nobody waits for another
// one's attempt: each has its own time.
func (d *Desk) temporal(ctx context.Context) (*server.Temporal, error) {
	if t := d.connected(nil); t != nil {
		return t, nil
	}
	t, err := d.c.Temporal(ctx)
	if err != nil {
		return nil, err
	}
	return d.connected(t), nil
}

// connected returns the connection; one that is new is kept where there is none yet.
func (d *Desk) connected(newly *server.Temporal) *server.Temporal {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.server == nil:
		d.server = newly
	case newly != nil:
		newly.Close()
	}
	return d.server
}

// Examine has the doctor look at everything that has an address; unset are the parts that
// have none.
func (d *Desk) Examine(ctx context.Context) (found doctor.Diagnosis, unset []string) {
	e := doctor.Examination{Management: d.c.Management}
	if d.c.AMQPURL == "" {
		e.Skip, unset = append(e.Skip, "rabbitmq"), append(unset, "RabbitMQ: AMQP_URL is not set")
	}
	if d.c.DatabaseURL == "" {
		e.Skip, unset = append(e.Skip, "postgresql"), append(unset, "PostgreSQL: DATABASE_URL is not set")
	}
	return doctor.Examine(ctx, d.c, e), unset
}

// restOf says what was not looked at, or is not shown; err is that of the look.
func (d *Desk) restOf(more bool, err error) (rest string, other error) {
	var scanned *server.ScannedError
	switch {
	case errors.As(err, &scanned):
		return scanned.Rest(d.now()), nil
	case err == nil && more:
		return "There are more than these: narrow it down.", nil
	}
	return "", err
}

// hash makes of a key that somebody has typed the one that is meant: see [reach.Config.Key].
func (d *Desk) hash(key *string) (err error) {
	*key, err = d.c.Key(*key)
	return err //nolint:wrapcheck // the keyring's, and said as such
}

// Sagas lists sagas, so many at most; rest says what was not looked at, or is not listed.
func (d *Desk) Sagas(ctx context.Context, f sagas.Filter, limit int) (rows []sagas.Row, rest string, err error) {
	f.Prefix, f.Scan = d.c.Prefix, scanned
	if err := d.hash(&f.Key); err != nil {
		return nil, "", err
	}
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	t, err := d.temporal(ctx)
	if err != nil {
		return nil, "", err
	}
	within, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	rows, more, err := actions.First(limit, func(size int, visit func(sagas.Row) bool) error {
		return sagas.Each(within, t, f, size, visit)
	})
	if rest, err = d.restOf(more, err); err == nil {
		sagas.Tell(ctx, t, rows)
	}
	return rows, rest, err
}

// Saga shows the saga that an ID means.
func (d *Desk) Saga(ctx context.Context, id string) (sagas.Detail, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return sagas.Detail{}, err
	}
	row, err := sagas.FindOrBegun(ctx, d.c, t, id, "")
	if err != nil {
		return sagas.Detail{}, err
	}
	shown, err := sagas.Describe(ctx, t, row, false, false, d.now())
	shown.UI = server.UiLink(d.c.UI, t.Namespace, shown.WorkflowID, shown.RunID)
	return shown.Detail, err
}

// SagaData is the state of a saga, opened. An error says why it cannot be read.
func (d *Desk) SagaData(ctx context.Context, row sagas.Row) ([]byte, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return nil, err
	}
	shown, err := sagas.Describe(ctx, t, row, true, false, d.now())
	if err != nil {
		return nil, err
	}
	return dataOf(shown.Detail)
}

// dataOf is the state that a saga is shown with, unless some of it is not there to be read.
func dataOf(d sagas.Detail) ([]byte, error) {
	switch {
	case d.Status == nil:
		return nil, errors.New("it is not known")
	case d.Encrypted != "":
		return nil, errors.New(d.Encrypted)
	case d.Status.Core.Data == nil:
		return nil, errors.New("it has none")
	}
	return d.Status.Core.Data, nil
}

// FindSaga returns the ID of the saga that an ID or a key means.
func (d *Desk) FindSaga(ctx context.Context, id string) (string, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return "", err
	}
	row, err := sagas.FindOrBegun(ctx, d.c, t, id, "")
	return row.ID, err
}

// ActOnSaga does what was chosen. An error says that nothing was sent.
func (d *Desk) ActOnSaga(ctx context.Context, row sagas.Row, c sagas.Choice, who Who) (actions.Outcome, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return actions.Outcome{}, err
	}
	act, ok := sagas.ActNamed(c.Act)
	if !ok {
		return actions.Outcome{}, errors.New("there is no such action on sagas")
	}
	b := &sagas.Batch{T: t, Prefix: d.c.Prefix, Act: act, Crew: crew(), Req: sagaflow.Request{Operator: who.Operator,
		Reason: who.Reason, Step: c.Step, Refuse: c.Refuse}}
	if act.Name == workflows.UpdateCompensate {
		b.Wait = comes
	}
	all, err := b.Run(ctx, []sagas.Row{row})
	if err != nil {
		return actions.Outcome{}, err
	}
	return all[0], nil
}

// crew does one thing.
func crew() actions.Crew {
	return actions.Crew{Parallel: 1, Answer: actions.AnswerLimit, Tick: func() {}}
}

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
	if err := d.hash(&f.Key); err != nil {
		return counted, err
	}
	countable := f.Countable()
	if f.Prefix, f.Scan = d.c.Prefix, scanned; countable {
		f.Scan = lettersCounted // each that is looked at is one that is meant
	}
	if err := f.Validate(); err != nil {
		return counted, err
	}
	t, err := d.temporal(ctx)
	if err != nil {
		return counted, err
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
	if err := d.hash(&f.Key); err != nil {
		return nil, "", err
	}
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	t, err := d.temporal(ctx)
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
	if err := d.hash(&f.Key); err != nil {
		return nil, false, err
	}
	if err := f.Validate(); err != nil {
		return nil, false, err
	}
	t, err := d.temporal(ctx)
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

// Transactions lists transactions, so many at most; more is what to tell if there are others.
func (d *Desk) Transactions(ctx context.Context, f transactions.Filter, limit int) (rows []transactions.Row,
	more string, err error) {
	f.Prefix = d.c.Prefix
	if err := d.hash(&f.Key); err != nil {
		return nil, "", err
	}
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	t, err := d.temporal(ctx)
	if err != nil {
		return nil, "", err
	}
	rows, more, err = transactions.List(ctx, t, f, limit)
	return rows, onAPage.Replace(more), err
}

// onAPage says without the command line's flags what a list has to tell.
var onAPage = strings.NewReplacer("raise --limit, or ", "", "--", "")

// Transaction shows the transaction that an ID means: its workflow or, where it has none, its
// outcome row.
func (d *Desk) Transaction(ctx context.Context, id string) (transactions.Detail, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return transactions.Detail{}, err
	}
	return transactions.Show(ctx, d.c, t, id, "", false)
}

// ActOnTransaction does an action on a transaction. An error says that nothing was sent.
func (d *Desk) ActOnTransaction(ctx context.Context, row transactions.Row, name string, who Who) (actions.Outcome,
	error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return actions.Outcome{}, err
	}
	act, ok := transactions.ActNamed(name)
	if !ok {
		return actions.Outcome{}, errors.New("there is no such action on transactions")
	}
	b := &transactions.Batch{T: t, Prefix: d.c.Prefix, Act: act, Crew: crew(),
		Req: txflow.Request{Operator: who.Operator, Reason: who.Reason}}
	all, err := b.Run(ctx, []transactions.Row{row})
	if err != nil {
		return actions.Outcome{}, err
	}
	return all[0], nil
}

// FindTransaction returns the ID of the transaction that an ID or a key means.
func (d *Desk) FindTransaction(ctx context.Context, id string) (string, error) {
	t, err := d.temporal(ctx)
	if err != nil {
		return "", err
	}
	found, err := transactions.Find(ctx, t, id, "")
	if errors.Is(err, holdfast.ErrNotFound) {
		shown, err := transactions.FromOutcome(ctx, d.c, id, "", false, err)
		return shown.Tx, err
	}
	if err != nil {
		return "", err
	}
	return found.Name(), nil
}

// Package desk is an installation as the console's pages see it. It stands on
// internal/operator, as the command line does: what it knows beside that is how long a page
// may take, and how much of something it shows.
package desk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/server"
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

// filter is that of a list, whose key may be as somebody has typed it.
type filter interface{ Validate() error }

// lists prepares a list: of the filter's key it makes the one that is meant, see
// [reach.Config.Key], then it checks the filter, and connects.
func (d *Desk) lists(ctx context.Context, f filter, key *string) (*server.Temporal, error) {
	meant, err := d.c.Key(*key)
	if err != nil {
		return nil, err //nolint:wrapcheck // the keyring's, and said as such
	}
	*key = meant
	if err := f.Validate(); err != nil {
		return nil, err
	}
	return d.temporal(ctx)
}

// crew does one thing.
func crew() actions.Crew {
	return actions.Crew{Parallel: 1, Answer: actions.AnswerLimit, Tick: func() {}}
}

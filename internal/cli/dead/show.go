package dead

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/server"
)

func newDeadShowCommand(a *frame.App) *cobra.Command {
	var consumer string
	var b bodyFlags
	c := a.Showing(&cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter: why it died, what was done, what can be done",
		Long: `Show a dead letter: its message, how each attempt failed, what was done about
it, what can be done now, the transaction that sent it, and the steps of its
workflow's history. For what an ID is, see holdfast dead --help. Of the body,
the beginning is shown, without what would steer the terminal; --body shows all
of it, --no-body nothing, and --raw writes it as it is, and nothing else.

JSON: id, consumer, topic, key, state, class, reason, attempts, started, closed,
workflow_id, run_id, queue; status (also failure, redeliveries, duplicates,
next, actions, story: at, what, operator, text); unknown (why there is no
status); message (id, topic, key, content_type, headers, size, text or base64,
cut: the bytes that are left out, encrypted: why there is nothing); kept;
commands (what can be done now); attempt_log (n, at, class, error); policy;
producer (tx, group, workflow_id, state, note, ui); pending (name, attempt,
running, next, error); steps (at, kind, name, summary, result); steps_cut (there
are more); ui.`,
		Example: "  holdfast dead show A-1007\n  holdfast dead show 01927c4e-6f0e-7cc3-98c4-dc0c0c07398f --consumer " +
			"payments --body\n  holdfast dead show A-1007 --raw >body.json",
	}, func(ctx context.Context, t *server.Temporal, id string) (frame.Shown, error) {
		found, err := deadletters.Find(ctx, t, id, consumer, a.Prefix)
		if errors.Is(err, holdfast.ErrNotFound) {
			a.NoteConsumer(ctx, t, consumer)
		}
		if err != nil {
			return nil, err
		}
		if b.raw {
			return deadletters.ReadBody(ctx, t, found, a.Err)
		}
		return deadletters.Describe(ctx, t, found, a.UI, b.most())
	})
	c.Flags().StringVar(&consumer, "consumer", "", "the consumer, where ID is a message's or a key")
	b.register(c)
	return c
}

// bodyFlags say how much of a dead letter's body is shown.
type bodyFlags struct{ all, none, raw bool }

// bodyShown is how many bytes of a body are shown where nothing else is asked for.
const bodyShown = 1024

func (b *bodyFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&b.all, "body", false, "show all of the message's body, not the beginning alone")
	flags.BoolVar(&b.none, "no-body", false, "show nothing of the message's body")
	flags.BoolVar(&b.raw, "raw", false, "write the message's body as it is, and nothing else; to a terminal, without "+
		"what would steer it")
	c.MarkFlagsMutuallyExclusive("body", "no-body", "raw")
	c.MarkFlagsMutuallyExclusive("raw", "json")
}

// most is how many bytes of a body are shown.
func (b *bodyFlags) most() int {
	switch {
	case b.all:
		return 1 << 30
	case b.none:
		return 0
	}
	return bodyShown
}

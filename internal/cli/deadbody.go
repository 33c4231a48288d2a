package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfastmq/holdfast/workflows"
)

// bodyFlags say how much of a dead letter's body is shown.
type bodyFlags struct{ all, none, raw bool }

// bodyShown is how many bytes of a body are shown where nothing else is asked for.
const bodyShown = 1024

func (b *bodyFlags) register(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&b.all, "body", false, "show all of the message's body, not the beginning alone")
	flags.BoolVar(&b.none, "no-body", false, "show nothing of the message's body")
	flags.BoolVar(&b.raw, "raw", false, "write the message's body as it is, and nothing else; to a terminal, without what would steer it")
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

// wholeBody is a message's body, and nothing else.
type wholeBody []byte

// letterBody reads the body of a dead letter's message; where only its beginning is
// known, it says so.
func letterBody(ctx context.Context, t *temporalServer, of deadRow, note io.Writer) (wholeBody, error) {
	var in workflows.DeadLetterInput
	if err := t.inputOf(ctx, of.WorkflowID, of.RunID, &in); err != nil {
		return nil, err
	}
	if in.Letter.Kept != "" {
		printf(note, "Only its beginning is here: the whole of it is in queue %s.\n", oneLine(in.Letter.Kept))
	}
	return in.Letter.Message.Body, nil
}

// print implements shown.
func (b wholeBody) print(w io.Writer, _ time.Time) error {
	if !isTerminal(w) {
		w = raw(w)
	}
	_, err := w.Write(b)
	return err
}

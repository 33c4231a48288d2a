package deadletters

import (
	"context"
	"io"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
)

// WholeBody is a message's body, and nothing else.
type WholeBody []byte

// ReadBody reads the body of a dead letter's message; where only its beginning is
// known, it says so.
func ReadBody(ctx context.Context, t *server.Temporal, of Row, note io.Writer) (WholeBody, error) {
	var in deadflow.Input
	if err := t.InputOf(ctx, of.WorkflowID, of.RunID, &in); err != nil {
		return nil, err
	}
	if in.Letter.Kept != "" {
		text.Printf(note, "Only its beginning is here: the whole of it is in queue %s.\n", text.OneLine(in.Letter.Kept))
	}
	return in.Letter.Message.Body, nil
}

// Print implements shown.
func (b WholeBody) Print(w io.Writer, _ time.Time) error {
	if !text.IsTerminal(w) {
		w = text.Raw(w)
	}
	_, err := w.Write(b)
	return err
}

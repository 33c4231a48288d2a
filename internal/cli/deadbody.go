package cli

import (
	"context"
	"io"
	"time"

	"github.com/holdfastmq/holdfast/workflows"
)

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

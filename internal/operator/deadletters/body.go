package deadletters

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/seal"
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
	m, err := Open(ctx, t.Box, in.Letter)
	return m.Body, err
}

// Open opens the message of a dead letter, as it is encrypted or not.
func Open(ctx context.Context, box *seal.Box, l holdfast.DeadLetter) (holdfast.Message, error) {
	if !seal.IsSealed(l.Message) {
		return l.Message, nil
	}
	if l.Kept != "" {
		return l.Message, fmt.Errorf("message %s is encrypted, and only its beginning is here: "+
			"the whole of it is in queue %s", l.ID, l.Kept)
	}
	of := Original(l)
	return box.Open(ctx, l.Message, of.ID, of.Topic)
}

// Original has the ID and the topic of the message of a dead letter; of a compensation
// notice, those of the message that was compensated.
func Original(l holdfast.DeadLetter) holdfast.Message {
	of := holdfast.Message{ID: l.Message.ID, Topic: l.Message.Topic}
	if id := l.Envelope.Headers[headerOf]; id != "" && strings.HasSuffix(of.Topic, holdfast.CompensatedSuffix) {
		of.ID, of.Topic = id, strings.TrimSuffix(of.Topic, holdfast.CompensatedSuffix)
	}
	return of
}

// headerOf is the header of a compensation notice that names the message.
const headerOf = "holdfast-of"

// shown is the message of a dead letter with so many bytes of its body.
func shown(ctx context.Context, box *seal.Box, l holdfast.DeadLetter, most int) transactions.MessageDetail {
	m, err := Open(ctx, box, l)
	if err != nil {
		d := transactions.MessageBeginning(l.Message, 0)
		d.Encrypted = seal.Note(err)
		return d
	}
	return transactions.MessageBeginning(m, most)
}

// Print implements shown.
func (b WholeBody) Print(w io.Writer, _ time.Time) error {
	if !text.IsTerminal(w) {
		w = text.Raw(w)
	}
	_, err := w.Write(b)
	return err
}

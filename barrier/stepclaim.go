package barrier

import (
	"errors"
	"fmt"

	holdfast "github.com/holdfastmq/holdfast"
)

// StepClaim says whom a step row is for, beyond its owner and step. An empty field is
// compared with nothing: earlier versions kept none.
type StepClaim struct {
	// Content is a digest of what the saga was started with. The same key may have been
	// used for something else, after Temporal had forgotten the first.
	Content string `json:"content,omitempty"`
	// By is the topic on which the participant does the step. Somebody may ask another
	// participant of the same database to do it.
	By string `json:"by,omitempty"`
}

// errOthers means that the step's row is for somebody else.
var errOthers = errors.New("the step's row is for somebody else")

// check says whether the row that was found is for somebody else.
func (c StepClaim) check(row StepRow, found StepClaim) error {
	switch {
	case c.Content != "" && found.Content != "" && c.Content != found.Content:
		return holdfast.Permanent(fmt.Errorf("%w: %w: %s was done for a start of this key with other content "+
			"(digest %.12s, now %.12s): use a new key for new work",
			holdfast.ErrDuplicate, errOthers, row, found.Content, c.Content))
	case c.By != "" && found.By != "" && c.By != found.By:
		return holdfast.Permanent(fmt.Errorf("%w: %w: %s was done by the participant of topic %.100q, "+
			"and %.100q was asked now: who publishes calls to the first?",
			holdfast.ErrDuplicate, errOthers, row, found.By, c.By))
	}
	return nil
}

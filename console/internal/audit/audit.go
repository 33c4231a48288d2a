// Package audit keeps what operators asked for, and what came of it: rows in PostgreSQL, or
// lines of JSON where there is no database. Nothing in it changes or deletes an entry.
package audit

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"
)

// The outcomes that are not an action's own.
const (
	Asked   = "asked" // it is about to be sent
	Refused = "refused"
	Done    = "done"
)

// Entry is one line.
type Entry struct {
	// ID is the log's number of it: later entries have larger ones.
	ID int64     `json:"-"`
	At time.Time `json:"at"`
	// Request is the same in all entries of one action.
	Request string `json:"request,omitempty"`
	// Who is who was logged in, Role what he may do.
	Who  string `json:"operator"`
	Role string `json:"role"`
	// Action is what was asked for, Target of what, Step the step that it is about.
	Action string `json:"action"`
	Target string `json:"target,omitempty"`
	Step   string `json:"step,omitempty"`
	// Reason is why, in the operator's words.
	Reason  string `json:"reason,omitempty"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail,omitempty"`
}

// Log takes entries, and shows the last ones.
type Log interface {
	// Add adds an entry; its time is the log's. What was not added must not be done.
	Add(ctx context.Context, e Entry) error
	// Last returns the last entries before the one with a number, the latest first, n at
	// most. Number 0: the last of all.
	Last(ctx context.Context, n int, before int64) ([]Entry, error)
	// Where says where the entries are, in words.
	Where() string
}

// maxText is how many bytes of a text are kept.
const maxText = 4000

// kept is an entry as it can be kept: every database takes its texts, and none is endless.
func (e Entry) kept() Entry {
	for _, s := range []*string{&e.Request, &e.Who, &e.Role, &e.Action, &e.Target, &e.Step, &e.Reason, &e.Outcome,
		&e.Detail} {
		*s = strings.ReplaceAll(strings.ToValidUTF8(*s, "\uFFFD"), "\x00", "\uFFFD")
		if len(*s) > maxText {
			cut := maxText
			for !utf8.RuneStart((*s)[cut]) {
				cut--
			}
			*s = (*s)[:cut] + "…"
		}
	}
	return e
}

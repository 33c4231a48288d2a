package text

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
)

// UsageError is a wrong flag or argument.
type UsageError struct{ error }

func (e UsageError) Unwrap() error { return e.error }

// Usage makes err one about a wrong flag or argument.
func Usage(err error) error { return UsageError{err} }

// Usagef is Usage with a new error.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// remedyError is an error, and what to do about it.
type remedyError struct {
	err    error
	remedy string
}

func (e remedyError) Error() string { return e.err.Error() + "; " + e.remedy }
func (e remedyError) Unwrap() error { return e.err }

// WithRemedy adds to err what to do about it.
func WithRemedy(err error, format string, args ...any) error {
	return remedyError{err, fmt.Sprintf(format, args...)}
}

// NoSuch is the error that nothing of a kind, such as a saga, has this ID or key.
func NoSuch(noun, id string) error { return noSuchError{noun, id} }

type noSuchError struct{ noun, id string }

func (e noSuchError) Error() string {
	return fmt.Sprintf("no %s has the ID or the key %q", e.noun, e.id)
}

func (e noSuchError) Is(target error) bool { return target == holdfast.ErrNotFound }

// lineEnds are what ends a line, with the spaces around it: those inside of a line may
// be part of a command that the error suggests.
var lineEnds = regexp.MustCompile(`\s*[\r\n]\s*`)

// Of is an error as one line for a reader of this program's output: without
// the packages' own "holdfast: ".
func Of(err error) string {
	s := strings.ReplaceAll(err.Error(), "holdfast: ", "")
	return OneLine(strings.TrimSpace(lineEnds.ReplaceAllString(s, " ")))
}

// PrintError writes err as the program's last line.
func PrintError(w io.Writer, err error) {
	if errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		Printf(w, "holdfast: interrupted\n")
		return
	}
	Printf(w, "holdfast: %s\n", Of(err))
}

// Printf writes to a standard stream, whose errors there is nobody to tell.
func Printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// SplitRemedy returns what went wrong, and what to do about it if the error
// knows.
func SplitRemedy(err error) (what, remedy string) {
	var unavailable *holdfast.UnavailableError
	var ours remedyError
	switch {
	case errors.As(err, &unavailable):
		remedy = unavailable.Remedy
		plain := *unavailable
		plain.Remedy = ""
		return Of(&plain), remedy
	case errors.As(err, &ours):
		return Of(ours.err), ours.remedy
	}
	return Of(err), ""
}

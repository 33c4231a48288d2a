// Package jsonerr says why JSON could not be decoded without quoting any of it: such errors
// go through headers, histories and logs, where what was decoded may be encrypted.
package jsonerr

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Clean returns err, of decoding JSON, without what it quotes: with the Go type, the field
// and the place of what does not fit, and of any other error, such as one of a method
// UnmarshalJSON, its Go type alone. [errors.Is] and [errors.As] find what they find in err.
// nil stays nil.
func Clean(err error) error {
	if err == nil {
		return nil
	}
	return &cleaned{text: text(err), err: err}
}

func text(err error) string {
	var fit *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &fit):
		value, _, _ := strings.Cut(fit.Value, " ") // behind the space is the value itself
		out := fmt.Sprintf("a JSON %s does not fit Go type %v", value, fit.Type)
		if fit.Field != "" {
			out += " of field " + fit.Field
		}
		return out + fmt.Sprintf(", at byte %d", fit.Offset)
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is no JSON from byte %d on", syntax.Offset)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fmt.Sprintf("error of type %T, whose text may quote it", err)
}

// cleaned has no Unwrap: whoever writes down the texts of a chain of errors finds none more.
type cleaned struct {
	text string
	err  error
}

func (c *cleaned) Error() string        { return c.text }
func (c *cleaned) Is(target error) bool { return errors.Is(c.err, target) }
func (c *cleaned) As(target any) bool   { return errors.As(c.err, target) }

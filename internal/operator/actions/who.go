package actions

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// MaxOperator is how many bytes an operator's name may have: longer ones are cut in
// histories.
const MaxOperator = 200

// ErrReserved refuses a name that Holdfast itself signs with.
var ErrReserved = errors.New("Holdfast signs with that name what nobody asked for")

// CheckOperator says why nobody can act under a name.
func CheckOperator(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("the operator's name is empty")
	case workflows.ReservedOperator(name):
		return fmt.Errorf("the operator cannot be %q: %w", name, ErrReserved)
	case len(name) > MaxOperator || strings.IndexFunc(name, unicode.IsControl) >= 0:
		return fmt.Errorf("the operator's name %q is too long, or has control characters: want one line of at most %d bytes",
			text.CutText(name, 40), MaxOperator)
	}
	return nil
}

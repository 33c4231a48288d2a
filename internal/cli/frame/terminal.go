package frame

import (
	"io"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Colours says whether what is written to w may be coloured.
func (a *App) Colours(w io.Writer) text.Palette {
	return text.Palette(a.NoColor == "" && a.Term != "" && a.Term != "dumb" && text.IsTerminal(w))
}

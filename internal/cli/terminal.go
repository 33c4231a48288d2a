package cli

import (
	"io"
)

// colours says whether what is written to w may be coloured.
func (a *app) colours(w io.Writer) palette {
	return palette(a.NoColor == "" && a.Term != "" && a.Term != "dumb" && isTerminal(w))
}

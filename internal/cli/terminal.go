package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// colours says whether what is written to w may be coloured.
func (a *app) colours(w io.Writer) palette {
	return palette(a.NoColor == "" && a.Term != "" && a.Term != "dumb" && isTerminal(w))
}

// isTerminal says whether a stream is a terminal: somebody who can be asked, and
// who sees colours.
func isTerminal(stream any) bool {
	if p, ok := stream.(*plainWriter); ok {
		stream = p.w
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

package text

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// plainWriter keeps what others wrote from steering the terminal: texts out of
// RabbitMQ, Temporal and databases may hold anything. It leaves out control
// characters, but for line ends, tabs and the program's own colours, and the
// characters that turn the direction of a text.
type plainWriter struct {
	w    io.Writer
	rest []byte // of a character, or of a colour, that is not complete yet
}

// Plain wraps a stream, once.
func Plain(w io.Writer) io.Writer {
	if _, ok := w.(*plainWriter); ok || w == nil {
		return w
	}
	return &plainWriter{w: w}
}

// Raw is the stream behind Plain, for what steers the terminal on purpose.
func Raw(w io.Writer) io.Writer {
	if p, ok := w.(*plainWriter); ok {
		return p.w
	}
	return w
}

const colourLength = len("\x1b[32m") // of the longest

func (p *plainWriter) Write(text []byte) (int, error) {
	in := append(p.rest, text...)
	p.rest = nil
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		if in[0] == 0x1b {
			n := colour(in)
			if n == 0 && len(in) < colourLength {
				p.rest = bytes.Clone(in)
				break
			}
			out = append(out, in[:n]...)
			in = in[max(n, 1):]
			continue
		}
		if !utf8.FullRune(in) {
			p.rest = bytes.Clone(in)
			break
		}
		r, n := utf8.DecodeRune(in)
		if !steers(r) && (r != utf8.RuneError || n > 1) {
			out = append(out, in[:n]...)
		}
		in = in[n:]
	}
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(text), nil
}

// colour is the length of the program's own colour at the beginning of text, 0 if
// there is none.
func colour(text []byte) int {
	for _, code := range LevelColours {
		if bytes.HasPrefix(text, []byte(code)) {
			return len(code)
		}
	}
	if bytes.HasPrefix(text, []byte(noColour)) {
		return len(noColour)
	}
	return 0
}

// steers reports whether a terminal does something else with r than show it.
func steers(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' ||
		r == '\u2029'
}

// escapeJSON writes as escapes what JSON leaves as it is, and plainWriter would
// leave out: programs get all of it.
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if steers(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// IsTerminal says whether a stream is a terminal: somebody who can be asked, and
// who sees colours.
func IsTerminal(stream any) bool {
	if p, ok := stream.(*plainWriter); ok {
		stream = p.w
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

package workflows

import (
	"strings"

	"github.com/holdfastmq/holdfast/internal/brief"
)

// Shorten keeps a summary within Temporal's limit of 400 bytes.
func Shorten(s string) string { return brief.Text(s, 393) }

// OrNone returns s or, where it is empty, "none".
func OrNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Code writes s as code in Markdown, shortened.
func Code(s string) string {
	if s == "" {
		return "none"
	}
	return "`" + strings.ReplaceAll(OneLine(Clip(s, 300)), "`", "'") + "`"
}

// Cell makes s fit into a cell of a Markdown table.
func Cell(s string) string { return strings.ReplaceAll(OneLine(Clip(s, 500)), "|", `\|`) }

// OneLine replaces control characters by spaces.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Clip cuts s to at most limit bytes of valid UTF-8.
func Clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		for len(s) > 0 && s[len(s)-1]&0xc0 == 0x80 { // inside a character
			s = s[:len(s)-1]
		}
		if len(s) > 0 && s[len(s)-1] >= 0xc0 {
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "?")
}

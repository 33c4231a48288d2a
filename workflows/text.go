package workflows

import "strings"

// shorten keeps a summary within Temporal's limit of 400 bytes.
func shorten(s string) string {
	const limit = 390
	if len(s) <= limit {
		return s
	}
	return cut(s, limit)
}

// cut returns the first bytes of s, which is longer.
func cut(s string, n int) string { return strings.ToValidUTF8(s[:n], "") + "…" }

// orNone returns s or, where it is empty, "none".
func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// code writes s as code in Markdown, shortened.
func code(s string) string {
	if s == "" {
		return "none"
	}
	return "`" + strings.ReplaceAll(oneLine(clip(s, 300)), "`", "'") + "`"
}

// cell makes s fit into a cell of a Markdown table.
func cell(s string) string { return strings.ReplaceAll(oneLine(clip(s, 500)), "|", `\|`) }

// oneLine replaces control characters by spaces.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// clip cuts s to at most limit bytes of valid UTF-8.
func clip(s string, limit int) string {
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

// Package brief cuts text that people read to a length.
package brief

import "strings"

// Text is s, cut to at most n bytes of whole characters. What is cut ends with "…", which
// counts.
func Text(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len(mark)], "") + mark
}

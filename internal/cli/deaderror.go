package cli

import (
	"regexp"
	"strings"
)

// normalError is an error's text without what differs from message to message,
// so that the same error on a thousand messages is one. Numbers become <n>,
// UUIDs <uuid>, hexadecimal text <hex>, quoted values <text>. It changes nothing
// in its own result.
func normalError(text string) string {
	text = strings.Join(strings.Fields(oneLine(text)), " ")
	cut := len(text) >= cutLength
	for before := ""; before != text; { // a match may use up what begins the next
		before = text
		for _, v := range variables {
			text = v.pattern.ReplaceAllString(text, v.placeholder)
		}
	}
	if cut {
		text = openQuotation.ReplaceAllString(text, "<text>")
	}
	return text
}

// cutLength is the length from which an error's text may have been cut, so that
// a quotation in it is not closed.
const cutLength = 450

var openQuotation = regexp.MustCompile(`"[^"]*$`)

// variables are what differs, in the order of their replacement.
var variables = []struct {
	pattern     *regexp.Regexp
	placeholder string
}{
	{regexp.MustCompile(`"(?:[^"\\]|\\.)*(?:"|(?:…|\.\.\.)$)`), "<text>"},
	{regexp.MustCompile("`[^`]*`"), "<text>"},
	{regexp.MustCompile(`“[^”]*”|«[^»]*»`), "<text>"},
	{regexp.MustCompile(`(^|[^\pL\pN])'[^']*'($|[^\pL\pN])`), "${1}<text>${2}"}, // but no apostrophe
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`(?i)\b0x[0-9a-f]+\b`), "<hex>"},
	{regexp.MustCompile(`(?i)\b(?:[a-f]+[0-9]|[0-9]+[a-f])[0-9a-f]{6,}\b`), "<hex>"}, // 8 or more, digits and letters
	{regexp.MustCompile(`[0-9]+(?:[.,:][0-9]+)*`), "<n>"},
}

// hasError reports whether an error's text has this text, as it is or as
// normalError writes it.
func hasError(reason, text string) bool {
	return strings.Contains(reason, text) || strings.Contains(normalError(reason), text)
}

package workflows

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Temporal's client puts a workflow's ID into a gRPC header, which takes printable
// ASCII and nothing else. A part of an ID that is printable ASCII stands in it as it
// is. Any other begins with a mark, and is written in printable ASCII behind it: as
// "=C3=BC" for each byte that is not, or, where that gets long, in base64. The mark
// has a slash, which transactions' IDs have not, and a saga's key stands escaped if it
// has one.
const (
	escapeMark = "=/"
	base64Mark = "=64/"
	// maxEscaped is how long the readable form gets, in bytes.
	maxEscaped = 300

	hexDigits = "0123456789ABCDEF"
)

// escapePart writes a part of a workflow's ID.
func escapePart(s string) string {
	if !mustEscape(s) {
		return s
	}
	return escaped(s)
}

// escapeKey writes a saga's key, the part of its workflow's ID behind which only the
// mark of an undoing may come: a key that has a slash is escaped, too.
func escapeKey(s string) string {
	if !strings.Contains(s, "/") {
		return escapePart(s)
	}
	return escaped(s)
}

// escaped writes text behind a mark.
func escaped(s string) string {
	var b strings.Builder
	b.WriteString(escapeMark)
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '=' || c == '/' {
			b.WriteString("=" + string(hexDigits[c>>4]) + string(hexDigits[c&15]))
			continue
		}
		b.WriteByte(c)
	}
	if b.Len() <= maxEscaped {
		return b.String()
	}
	return base64Mark + base64.RawURLEncoding.EncodeToString([]byte(s))
}

// mustEscape reports whether a part cannot stand in an ID as it is, or would be taken
// for one that is escaped.
func mustEscape(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return true
		}
	}
	return strings.HasPrefix(s, escapeMark) || strings.HasPrefix(s, base64Mark)
}

// unescapePart reads a part that escapePart wrote. What it would not have written is
// taken as it is.
func unescapePart(s string) string { return unescape(s, escapePart) }

// unescape reads what write wrote, and takes as it is what that would not have written.
func unescape(s string, write func(string) string) string {
	var text string
	if code, ok := strings.CutPrefix(s, escapeMark); ok {
		text = unquote(code)
	} else if code, ok := strings.CutPrefix(s, base64Mark); ok {
		raw, err := base64.RawURLEncoding.DecodeString(code)
		if err != nil {
			return s
		}
		text = string(raw)
	}
	if text == "" || write(text) != s {
		return s
	}
	return text
}

// unquote puts the bytes back that are written as =XX.
func unquote(code string) string {
	var b strings.Builder
	for i := 0; i < len(code); i++ {
		if code[i] == '=' && i+2 < len(code) {
			if c, err := hex.DecodeString(code[i+1 : i+3]); err == nil {
				b.Write(c)
				i += 2
				continue
			}
		}
		b.WriteByte(code[i])
	}
	return b.String()
}

// cutPart splits the first part off an ID's rest: up to the slash behind it, or behind
// its mark.
func cutPart(rest string) (part, after string, ok bool) {
	for _, mark := range []string{escapeMark, base64Mark} {
		code, marked := strings.CutPrefix(rest, mark)
		if !marked {
			continue
		}
		if code, after, ok = strings.Cut(code, "/"); ok && unescapePart(mark+code) != mark+code {
			return unescapePart(mark + code), after, true
		}
	}
	part, after, ok = strings.Cut(rest, "/")
	return part, after, ok
}
